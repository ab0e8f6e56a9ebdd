package server

import (
	"encoding/json"
	"regexp"
	"slices"

	"agentctl/clearml"

	"github.com/samber/lo"
)

type resetRequest struct {
	statusRequest
	ClearAll     bool  `json:"clear_all"`
	FileURLs     bool  `json:"return_file_urls"`
	OutputModels *bool `json:"delete_output_models"`
}

func reset(c *call, req *resetRequest) (any, error) {
	m := &manyRequest{Reason: req.Reason, Message: req.Message, Force: req.Force, FileURLs: req.FileURLs, OutputModels: req.OutputModels}
	var reply map[string]any
	err := c.update(func(t *tx) (err error) {
		reply, err = resetOne(t, c, m, req.Task)
		if err != nil || !req.ClearAll {
			return err
		}
		_, err = t.exec(`DELETE FROM task_part WHERE part IN ('script', 'execution') AND task = (SELECT n FROM task WHERE id = ?)`, req.Task)
		return err
	})
	return reply, err
}

// resetOne makes a task as new: what it reported is dropped, what it was made
// from stays.
func resetOne(t *tx, c *call, req *manyRequest, id string) (map[string]any, error) {
	row, err := c.ownTask(t, id)
	if err != nil {
		return nil, err
	}
	var queue string
	inQueue, err := t.one(`SELECT queue FROM entry WHERE task = ?`, args(id), &queue)
	if err != nil {
		return nil, err
	}
	stream, err := t.newStream()
	if err != nil {
		return nil, err
	}
	message := req.Message
	if message == "" {
		message = "reset"
	}
	fields, err := t.apply(row, change{to: clearml.StatusCreated, reason: req.Reason, message: message, force: req.Force, set: map[string]any{
		"started": int64(0), "completed": int64(0), "published": int64(0), "last_worker": "", "last_worker_report": int64(0),
		"last_iteration": 0, "queue": "", "enqueue_status": "", "stream": stream, "log_events": 0,
	}})
	if err != nil {
		return nil, err
	}
	if err := t.withdraw(id); err != nil {
		return nil, err
	}
	urls, models, err := t.dropOutput(row, req)
	if err != nil {
		return nil, err
	}
	reply := updated(fields)
	t.onCommit(c.srv.janitor.sweep)
	reply["deleted_models"], reply["events"], reply["dequeued"] = models, none{}, none{}
	if inQueue {
		reply["dequeued"] = map[string]any{"removed": 1}
	}
	if req.FileURLs {
		reply["urls"] = urls
	}
	return reply, nil
}

// dropOutput deletes what a task has produced: its events, output artifacts and
// models, and runtime. The events go in the background.
func (t *tx) dropOutput(row *task, req *manyRequest) (urls map[string]any, models int, err error) {
	if err := t.outputIsFinal(row); err != nil && !req.Force {
		return nil, 0, err
	}
	events := []string{}
	if req.FileURLs {
		if events, err = t.fileURLs(row.stream); err != nil {
			return nil, 0, err
		}
	}
	if err := t.killStream(row.stream); err != nil {
		return nil, 0, err
	}
	artifacts, err := t.dropArtifacts(row)
	if err != nil {
		return nil, 0, err
	}
	var m struct {
		Input []json.RawMessage `json:"input"`
	}
	if err := loadPart(t.view, row.n, "models", &m); err != nil {
		return nil, 0, err
	}
	if err := t.savePart(row.n, "models", map[string]any{"input": nonNil(m.Input), "output": list{}}); err != nil {
		return nil, 0, err
	}
	if err := t.savePart(row.n, "runtime", none{}); err != nil {
		return nil, 0, err
	}
	uris := []string{}
	if lo.FromPtrOr(req.OutputModels, true) {
		if uris, err = t.deleteModelsOf(row); err != nil {
			return nil, 0, err
		}
	}
	return map[string]any{"artifact_urls": artifacts, "model_urls": uris, "event_urls": events}, len(uris), nil
}

// outputIsFinal tells what of a task's output has been published.
func (t *tx) outputIsFinal(row *task) error {
	var children, models int64
	if _, err := t.one(`SELECT (SELECT count(*) FROM task WHERE parent = ?1 AND parent <> '' AND status = 'published'),
		(SELECT count(*) FROM model WHERE task = ?1 AND task <> '' AND ready = 1)`, args(row.ID), &children, &models); err != nil {
		return err
	}
	switch {
	case children > 0:
		return refuse(400, 123, "Task cannot be deleted (has children, use force=True): task=%s, children=%d", row.ID, children)
	case models > 0:
		return refuse(400, 123, "Task cannot be deleted (has output models, use force=True): task=%s, models=%d", row.ID, models)
	}
	return nil
}

// dropArtifacts removes the output artifacts and returns where they lie.
func (t *tx) dropArtifacts(row *task) ([]string, error) {
	e := object{}
	if err := loadPart(t.view, row.n, "execution", &e); err != nil {
		return nil, err
	}
	artifacts := readArtifacts(e)
	keep := lo.Filter(artifacts, func(a artifact, _ int) bool { return a.mode() == "input" })
	if len(keep) == len(artifacts) {
		return list{}, nil
	}
	uris := []string{}
	for _, a := range artifacts {
		if uri := a.text("uri"); uri != "" && a.mode() != "input" {
			uris = append(uris, uri)
		}
	}
	return uris, t.saveArtifacts(row.n, e, keep)
}

// plotSource is where a plot shows a file.
var plotSource = regexp.MustCompile(`"source":\s*"(https?://[^"]+)"`)

// fileURLs lists the files that images and plots of a stream show, for a client
// that deletes them with the task.
func (t *tx) fileURLs(stream int64) ([]string, error) {
	urls := []string{}
	err := t.each(`SELECT kind, coalesce(json_extract(doc, CASE kind WHEN ?2 THEN '$.url' ELSE '$.plot_str' END), '') FROM sample
		WHERE stream = ?1 AND kind IN (?2, ?3) LIMIT ?4`, args(stream, typeImage, typePlot, 20*maxRows), func(scan func(...any) error) error {
		var kind, text string
		if err := scan(&kind, &text); err != nil {
			return err
		}
		if kind == typeImage {
			urls = append(urls, text)
			return nil
		}
		for _, m := range plotSource.FindAllStringSubmatch(text, -1) {
			urls = append(urls, m[1])
		}
		return nil
	})
	urls = lo.Compact(urls)
	slices.Sort(urls)
	return slices.Compact(urls), err
}

// newStream begins a stream of events.
func (t *tx) newStream() (int64, error) { return t.insert(`INSERT INTO stream(dead) VALUES(0)`) }

// killStream gives the events of a stream to the janitor.
func (t *tx) killStream(n int64) error {
	_, err := t.exec(`UPDATE stream SET dead = 1 WHERE n = ?`, n)
	return err
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
