package server

import (
	"agentctl/clearml"
)

type deleteRequest struct {
	statusRequest
	FileURLs     bool  `json:"return_file_urls"`
	OutputModels *bool `json:"delete_output_models"`
}

func deleteTask(c *call, req *deleteRequest) (any, error) {
	return oneOfMany(c, req.Task, &manyRequest{Force: req.Force, FileURLs: req.FileURLs, OutputModels: req.OutputModels}, deleteOne)
}

func deleteOne(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	row, err := c.ownTask(t, id)
	if err != nil {
		return nil, err
	}
	if row.Status != clearml.StatusCreated && !row.systemTags.has(archivedTag) && !req.Force {
		return nil, refuse(400, 123, "Task cannot be deleted (due to status, use force=True): task=%s, expected=%s, current=%s", id, clearml.StatusCreated, row.Status)
	}
	urls, models, err := t.dropOutput(row, req)
	if err != nil {
		return nil, err
	}
	if err := t.leaveQueue(id); err != nil {
		return nil, err
	}
	if _, err := t.endLease(id); err != nil {
		return nil, err
	}
	children, err := t.exec(`UPDATE task SET parent = '' WHERE parent = ?`, id)
	if err != nil {
		return nil, err
	}
	orphans, err := t.exec(`UPDATE model SET task = '' WHERE task = ?`, id)
	if err != nil {
		return nil, err
	}
	if _, err := t.exec(`DELETE FROM task WHERE n = ?`, row.n); err != nil {
		return nil, err
	}
	t.touch(taskTopic(id))
	t.touch(anyTask)
	t.onCommit(c.srv.janitor.sweep)
	reply := map[string]any{"deleted": true, "updated_children": children, "updated_models": orphans, "deleted_models": models}
	if req.FileURLs {
		reply["urls"] = urls
	}
	return reply, nil
}
