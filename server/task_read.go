package server

import (
	"errors"

	"github.com/samber/lo"
)

func taskEndpoints() []*endpoint {
	return []*endpoint{
		on("tasks.get_by_id", getTaskByID),
		on("tasks.get_by_id_ex", getTaskByIDEx),
		on("tasks.get_all", getTasks),
		on("tasks.get_all_ex", getTasks),
		on("tasks.get_types", taskTypesOf),
		on("tasks.create", createTask),
		on("tasks.validate", validateTask),
		on("tasks.clone", cloneTask),
		on("tasks.edit", editTask),
		on("tasks.update", updateTask),
		raw("tasks.update_batch", updateBatch),
		on("tasks.update_tags", updateTaskTags),
		on("tasks.edit_runtime", editRuntime),
		on("tasks.set_requirements", setRequirements),
		on("tasks.move", moveTasks),
		on("tasks.delete", deleteTask),
		on("tasks.ping", pingTask),
		on("tasks.add_or_update_artifacts", addArtifacts),
		on("tasks.delete_artifacts", deleteArtifacts),
		on("tasks.add_or_update_model", addTaskModel),
		on("tasks.delete_models", deleteTaskModels),
	}
}

type byTask struct {
	Task string `json:"task" need:"1"`
}

func getTaskByID(c *call, req *byTask) (any, error) {
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	docs, err := taskDocs(c.read(), []*task{t}, nil)
	if err != nil {
		return nil, err
	}
	return map[string]any{"task": docs[0]}, nil
}

func getTaskByIDEx(c *call, req *taskQuery) (any, error) {
	if len(req.ID) == 0 {
		return nil, missing("id")
	}
	return getTasks(c, req)
}

// taskQuery is the request of tasks.get_all.
type taskQuery struct {
	ID            texts   `json:"id"`
	Name          string  `json:"name"`
	User          texts   `json:"user"`
	Project       texts   `json:"project"`
	Subprojects   bool    `json:"include_subprojects"`
	Type          texts   `json:"type"`
	Status        texts   `json:"status"`
	Tags          texts   `json:"tags"`
	SystemTags    texts   `json:"system_tags"`
	Parent        texts   `json:"parent"`
	StatusChanged texts   `json:"status_changed"`
	LastUpdate    texts   `json:"last_update"`
	Created       texts   `json:"created"`
	SearchText    string  `json:"search_text"`
	SearchHidden  bool    `json:"search_hidden"`
	Any           *anyAll `json:"_any_"`
	All           *anyAll `json:"_all_"`
	OnlyFields    texts   `json:"only_fields"`
	OrderBy       texts   `json:"order_by"`
	Size          int     `json:"size"`
	ScrollID      string  `json:"scroll_id"`
	paging
	poll
}

func getTasks(c *call, req *taskQuery) (any, error) {
	if err := req.resume(); err != nil {
		return nil, err
	}
	l, err := newListing(req.OnlyFields, req.OrderBy, req.paging, taskField, taskExpr, "t.n", req.filter)
	if err != nil {
		return nil, err
	}
	revision := c.srv.hold(c.ctx, req.poll, req.topics())
	var rows []*task
	text := `SELECT ` + taskColumns + ` FROM task t` + l.tail
	err = c.read().each(text, l.args, func(scan func(...any) error) error {
		var t task
		rows = append(rows, &t)
		return scan(t.dest()...)
	})
	if err != nil {
		return nil, err
	}
	docs, err := taskDocs(c.read(), rows, l.fields)
	if err != nil {
		return nil, err
	}
	reply := map[string]any{"tasks": docs, "agentctl_revision": revision}
	if req.Size > 0 {
		reply["scroll_id"] = scroll{int64(*req.Page+1) * int64(req.PageSize), int64(req.PageSize)}.String()
	}
	return reply, nil
}

// resume turns a scroll, which is a size and then what the last answer gave, into
// pages.
func (q *taskQuery) resume() error {
	at, err := readScroll(q.ScrollID)
	switch {
	case err != nil || q.Size <= 0 && q.ScrollID == "":
		return err
	case q.ScrollID == "":
		at = scroll{0, int64(min(q.Size, maxRows))}
	case at.A < 0 || at.B <= 0 || at.B > maxRows || at.A/at.B > 1<<30:
		return errScroll
	}
	page := int(at.A / at.B)
	q.Page, q.PageSize, q.Size = &page, int(at.B), int(at.B)
	return nil
}

// topics are what a poll of this query waits for: the tasks it names, or any.
func (q *taskQuery) topics() []string {
	if len(q.ID) == 0 {
		return []string{anyTask}
	}
	return lo.Map(q.ID, func(id string, _ int) string { return taskTopic(id) })
}

// anyTask is the topic of all changes of a task's status.
const anyTask = "t:"

func (q *taskQuery) filter(f *filter) error {
	if q.ID != nil {
		f.exact("t.id", q.ID)
	}
	err := errors.Join(f.in("t.user", q.User), f.in("t.type", q.Type), f.in("t.status", q.Status), f.in("t.parent", q.Parent),
		f.inProjects("t.project", q.Project, q.Subprojects), f.tags("t.tags", q.Tags), f.tags("t.system_tags", q.SystemTags))
	if err != nil {
		return err
	}
	f.visible("t.system_tags", q.SearchHidden, q.ID, q.SystemTags)
	for column, bounds := range map[string][]string{
		"t.status_changed": q.StatusChanged, "t.last_update": q.LastUpdate, "t.created": q.Created,
	} {
		if err := f.dates(column, bounds); err != nil {
			return err
		}
	}
	if q.SearchText != "" {
		f.add(`(instr(lower(t.name), lower(?)) OR instr(lower(t.comment), lower(?)) OR t.id = ?)`, q.SearchText, q.SearchText, q.SearchText)
	}
	if err := f.regex("t.name", q.Name); err != nil {
		return err
	}
	if err := f.match(q.Any, false, taskExpr); err != nil {
		return err
	}
	return f.match(q.All, true, taskExpr)
}

// hiddenTag marks what lists leave out unless asked.
const hiddenTag = "hidden"

// The types that the protocol knows.
var taskTypes = []string{
	"training", "testing", "inference", "data_processing", "application", "monitor", "controller", "optimizer", "service", "qc", "custom", "dataset_import", "annotation", "annotation_manual",
}

func taskTypesOf(c *call, _ *none) (any, error) {
	types := []string{}
	err := c.read().each(`SELECT DISTINCT type FROM task ORDER BY type`, nil, func(scan func(...any) error) error {
		var s string
		defer func() { types = append(types, s) }()
		return scan(&s)
	})
	return map[string]any{"types": types}, err
}
