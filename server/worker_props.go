package server

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/samber/lo"
)

// property is a runtime property of a worker, which its agent reads at each look
// at its queues.
type property struct {
	Key    string          `json:"key"`
	Value  string          `json:"value"`
	Expiry json.RawMessage `json:"expiry,omitempty"` // kept as it was given
}

// Bounds of the properties of one worker.
const (
	maxProperties = 100
	maxProperty   = 4 << 10
)

func getProperties(c *call, req *struct {
	Worker string `json:"worker" need:"1"`
}) (any, error) {
	w := c.srv.workers.find(req.Worker)
	if w == nil {
		return map[string]any{"runtime_properties": list{}}, nil
	}
	return map[string]any{"runtime_properties": lo.Map(slices.Sorted(maps.Keys(w.Properties)), func(key string, _ int) property { return w.Properties[key] })}, nil
}

func setProperties(c *call, req *struct {
	Worker     string     `json:"worker" need:"1"`
	Properties []property `json:"runtime_properties"`
}) (any, error) {
	w := c.srv.workers.find(req.Worker)
	if w == nil { // an agent sets some before it registers
		w = unregistered(req.Worker, c.srv.now().UnixMicro())
	}
	for _, p := range req.Properties {
		switch {
		case p.Key == "":
			return nil, missing("key")
		case len(p.Key)+len(p.Value)+len(p.Expiry) > maxProperty:
			return nil, invalid("runtime_properties", "one has more than %d bytes", maxProperty)
		case len(p.Expiry) > 0 && json.Unmarshal(p.Expiry, new(any)) != nil: // a number that is none to clients
			return nil, invalid("expiry", "no number")
		}
	}
	return map[string]any{"added": len(req.Properties)}, c.saveWorker(w, req.Properties)
}

// setProperties adds some to those that the worker has in the store, so that two who
// set different ones don't undo each other.
func (t *tx) setProperties(w *worker, set []property) error {
	var doc []byte
	have := worker{Properties: map[string]property{}}
	found, err := t.one(`SELECT doc FROM worker WHERE id = ?`, args(w.ID), &doc)
	if err != nil {
		return err
	}
	if found {
		if err := json.Unmarshal(doc, &have); err != nil {
			return err
		}
	}
	for _, p := range set {
		have.Properties[p.Key] = p
	}
	if len(have.Properties) > maxProperties {
		return invalid("runtime_properties", "more than %d", maxProperties)
	}
	w.Properties = have.Properties
	return nil
}

// find gives a copy of a worker, nil when it is not known.
func (ws *workers) find(id string) *worker {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.known[id]
	if w == nil {
		return nil
	}
	out := *w
	return &out
}
