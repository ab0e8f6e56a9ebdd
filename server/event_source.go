package server

import "github.com/samber/lo"

// source is what events belong to: a task or a model.
type source struct {
	id, name string
	stream   int64 // 0: it has none yet, and so no events
}

func (t *task) source() *source { return &source{t.ID, t.Name, t.stream} }

// sourceRequest names one.
type sourceRequest struct {
	Task   string `json:"task" need:"1"`
	Models bool   `json:"model_events"` // Task is a model's id
}

func (r *sourceRequest) find(v *view) (*source, error) { return findSource(v, r.Task, r.Models) }

func findSource(v *view, id string, models bool) (*source, error) {
	if !models {
		t, err := needTask(v, id)
		if err != nil {
			return nil, err
		}
		return t.source(), nil
	}
	m, err := needModel(v, id)
	if err != nil {
		return nil, err
	}
	return &source{m.ID, m.Name, m.stream}, nil
}

// sourcesRequest names several.
type sourcesRequest struct {
	Tasks  texts `json:"tasks" need:"1"`
	Models bool  `json:"model_events"`
}

// maxCharts bounds the tasks of one request for charts of many.
const maxCharts = 100

// find reads them, at most so many; one that does not exist refuses the request.
func (r *sourcesRequest) find(v *view, most int) ([]*source, error) {
	if len(r.Tasks) > most {
		return nil, invalid("tasks", "more than %d", most)
	}
	return lo.MapErr(lo.Uniq(r.Tasks), func(id string, _ int) (*source, error) { return findSource(v, id, r.Models) })
}
