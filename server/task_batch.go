package server

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/samber/lo"
)

// updateBatch is tasks.update for many, as lines of JSON or a list: all or none.
func updateBatch(c *call) (any, error) {
	items, err := updateItems(c.body)
	if err != nil {
		return nil, err
	}
	changed := 0
	err = c.update(func(t *tx) error {
		for i := range items {
			fields, err := updateTaskIn(t, c, &items[i])
			if err != nil {
				return err
			}
			if fields != nil {
				changed++
			}
		}
		return nil
	})
	return map[string]any{"updated": changed}, err
}

// updateItems reads a batch.
func updateItems(body []byte) (items []updateRequest, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err == io.EOF {
			break
		} else if err != nil {
			return nil, refuse(400, 0, "Bad request: the body is not lines of JSON")
		}
		some := make([]updateRequest, 1)
		var dest any = &some[0]
		if raw[0] == '[' {
			dest = &some
		}
		if err := json.Unmarshal(raw, dest); err != nil {
			return nil, decodeError(err)
		}
		items = append(items, some...)
	}
	switch {
	case len(items) == 0:
		return nil, refuse(400, 17, "Batch contains no items")
	case len(items) > maxMany:
		return nil, invalid("task", "more than %d", maxMany)
	}
	if i := lo.IndexOf(lo.Map(items, func(r updateRequest, _ int) string { return r.Task }), ""); i >= 0 {
		return nil, missing("task")
	}
	return items, nil
}

// editRuntime changes single entries of a task's runtime, so that two who change
// different ones don't undo each other.
func editRuntime(c *call, req *struct {
	Task   string `json:"task" need:"1"`
	Add    object `json:"add_or_update"`
	Remove texts  `json:"remove"`
}) (any, error) {
	if len(req.Add)+len(req.Remove) == 0 {
		return nil, invalid("add_or_update", "either add_or_update or remove should be provided")
	}
	err := c.update(func(t *tx) error {
		row, err := c.ownTask(t, req.Task)
		if err != nil {
			return err
		}
		runtime := object{}
		if err := loadPart(t.view, row.n, "runtime", &runtime); err != nil {
			return err
		}
		if err := t.savePart(row.n, "runtime", lo.OmitByKeys(lo.Assign(runtime, req.Add), req.Remove)); err != nil {
			return err
		}
		return t.setTask(row.n, map[string]any{"last_update": t.now, "last_change": t.now})
	})
	return map[string]any{"updated": 1}, err
}
