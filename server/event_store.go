package server

import (
	"encoding/json"
	"fmt"

	"agentctl/clearml"
)

// batch is the events of one task, or one model, in one request.
type batch struct {
	task    *task
	model   *model
	stream  int64
	lines   []logLine
	maxIter int64
	added   int
}

type batchKey struct {
	id    string
	model bool
}

// addEvents stores events in their order and brings what they belong to up to date.
func (t *tx) addEvents(c *call, events []*event, refused map[string]int) (added int, err error) {
	batches := map[batchKey]*batch{}
	for _, e := range events {
		key := batchKey{e.Task, e.ModelEvent}
		b := batches[key]
		if b == nil {
			if b, err = t.newBatch(key); err != nil {
				return 0, err
			}
			batches[key] = b
		}
		if reason := b.refuses(t, c, e); reason != "" {
			refused[reason]++
			continue
		}
		if err := t.addEvent(c, b, e); err != nil {
			return 0, err
		}
		b.added++
		added++
	}
	for _, b := range batches {
		if err := t.noteEvents(b); err != nil {
			return 0, err
		}
	}
	return added, nil
}

func (t *tx) newBatch(key batchKey) (b *batch, err error) {
	b = &batch{maxIter: -1}
	if key.model {
		b.model, err = findModel(t.view, `m.id = ?`, key.id)
	} else {
		b.task, err = getTask(t.view, key.id)
	}
	if b.task != nil {
		b.stream = b.task.stream
	}
	if b.model != nil {
		b.stream = b.model.stream
	}
	return b, err
}

func (b *batch) refuses(t *tx, c *call, e *event) string {
	switch {
	case e.ModelEvent && (b.model == nil || b.model.ready && !e.Locked):
		return fmt.Sprintf("Invalid model id %.64s", e.Task)
	case e.ModelEvent && c.mayChangeModel(t, b.model) != nil:
		return fmt.Sprintf("Not allowed for model id %.64s", e.Task)
	case e.ModelEvent:
	case b.task == nil:
		return fmt.Sprintf("Invalid task id %.64s", e.Task)
	case c.mayChange(b.task) != nil:
		return fmt.Sprintf("Not allowed for task id %.64s", e.Task)
	case oneOf(b.task.Status, clearml.StatusPublished, clearml.StatusPublishing) && !e.Locked:
		return fmt.Sprintf("Task is published, task id %.64s", e.Task)
	}
	return ""
}

func (t *tx) addEvent(c *call, b *batch, e *event) (err error) {
	if b.stream == 0 { // the first event of a model
		if b.stream, err = t.newStream(); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE model SET stream = ? WHERE n = ?`, b.stream, b.model.n); err != nil {
			return err
		}
	}
	if e.Type != typeLog && e.iter > b.maxIter && !oneOf(e.Metric, machineMetric, gpuMetric) {
		b.maxIter = e.iter
	}
	switch e.Type {
	case typeLog:
		b.lines = append(b.lines, logLine{TS: e.ts, Worker: e.Worker, Level: e.Level, Msg: e.Msg})
		return nil
	case typeScalar:
		return t.addScalar(b.stream, e)
	}
	return t.addSample(c, b, e)
}

// The SDK reports these by seconds: they say nothing of a task's progress.
const (
	machineMetric = ":monitor:machine"
	gpuMetric     = ":monitor:gpu"
)

// complete is an event as it is kept: what the client has left out is filled in.
func (e *event) complete() (json.RawMessage, error) {
	if e.Timestamp != "" && e.Iter != "" && e.Worker != "<unknown>" && e.Model == "" {
		return e.raw, nil
	}
	o := object{}
	if err := json.Unmarshal(e.raw, &o); err != nil {
		return nil, err
	}
	for name, v := range map[string]any{"timestamp": e.ts, "iter": e.iter, "worker": e.Worker, "task": e.Task} {
		o[name], _ = json.Marshal(v) // texts and numbers always encode
	}
	delete(o, "model")
	return json.Marshal(o)
}

// noteEvents brings the row of a task or a model up to date: events are a sign of
// life.
func (t *tx) noteEvents(b *batch) error {
	iter := max(b.maxIter, 0)
	switch {
	case b.added == 0:
		return nil
	case b.model != nil:
		_, err := t.exec(`UPDATE model SET last_update = ?1, doc = json_set(doc, '$.last_iteration', max(coalesce(json_extract(doc, '$.last_iteration'), 0), ?2)) WHERE n = ?3`,
			t.now, iter, b.model.n)
		return err
	}
	if err := t.addLines(b.stream, b.lines); err != nil {
		return err
	}
	_, err := t.exec(`UPDATE task SET last_update = ?, last_iteration = max(last_iteration, ?), log_events = log_events + ? WHERE n = ?`,
		t.now, iter, len(b.lines), b.task.n)
	return err
}
