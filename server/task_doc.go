package server

import (
	"crypto/md5" //nolint:gosec // the protocol's keys of last_metrics, not a protection
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// partNames are the subtrees of a task that are stored apart.
var partNames = []string{"script", "execution", "hyperparams", "configuration", "container", "models", "output", "runtime", "input"}

// rowNames are the fields of a task's row.
var rowNames = []string{
	"id", "name", "type", "status", "status_reason", "status_message", "status_changed", "created", "started", "completed",
	"published", "last_update", "last_change", "last_changed_by", "user", "company", "project", "parent", "comment", "tags",
	"system_tags", "last_worker", "last_worker_report", "last_iteration", "enqueue_status", "active_duration",
}

const metricsName = "last_metrics"

// emptyParts is what the protocol shows of subtrees that were never set: clients
// reach into them without looking.
var emptyParts = map[string]any{
	"script": none{}, "hyperparams": none{}, "configuration": none{}, "container": none{}, "runtime": none{}, "output": none{},
	"models": map[string]any{"input": list{}, "output": list{}},
}

// fields is what a client wants of a document: top-level name → paths below it,
// nil for all of it. A nil map wants everything.
type fields map[string][][]string

// parseFields reads only_fields; known lists the top-level names there are.
func parseFields(only []string, known func(string) bool) (fields, error) {
	if len(only) == 0 {
		return nil, nil
	}
	f := fields{"id": nil}
	for _, name := range only {
		path := strings.Split(name, ".")
		if !known(path[0]) {
			return nil, refuse(400, 14, "Invalid fields: only_fields=%.200s", name)
		}
		below, had := f[path[0]]
		switch {
		case len(path) == 1 || had && below == nil:
			f[path[0]] = nil
		default:
			f[path[0]] = append(below, path[1:])
		}
	}
	return f, nil
}

func (f fields) want(name string) bool {
	if f == nil {
		return true
	}
	_, ok := f[name]
	return ok
}

// parts lists which of the stored subtrees are wanted.
func (f fields) parts() []string {
	return lo.Filter(partNames, func(p string, _ int) bool { return f.want(p) })
}

func taskField(name string) bool {
	return slices.Contains(rowNames, name) || slices.Contains(partNames, name) || name == metricsName
}

// doc is a task as the protocol shows it.
func (t *task) doc(f fields, parts map[string]json.RawMessage, metrics any) map[string]any {
	all := t.rowDoc()
	for name, empty := range emptyParts {
		all[name] = empty
	}
	for name, raw := range parts {
		all[name] = raw
	}
	if f.want("execution") {
		all["execution"] = withQueue(parts["execution"], t.queue)
	}
	if metrics != nil {
		all[metricsName] = metrics
	}
	return f.of(all)
}

// of keeps of a document what is wanted.
func (f fields) of(all map[string]any) map[string]any {
	out := make(map[string]any, len(all))
	for name, v := range all {
		if v == nil || v == (*string)(nil) || !f.want(name) {
			continue
		}
		if f != nil && f[name] != nil {
			v = pick(v, f[name])
		}
		out[name] = v
	}
	return out
}

func (t *task) rowDoc() map[string]any {
	return map[string]any{
		"id": t.ID, "name": t.Name, "type": t.Type, "status": t.Status, "status_reason": t.reason, "status_message": t.message,
		"status_changed": stamp(t.statusChanged), "created": stamp(t.created), "started": stamp(t.started),
		"completed": stamp(t.completed), "published": stamp(t.published), "last_update": stamp(t.lastUpdate),
		"last_change": stamp(t.lastChange), "last_changed_by": t.changedBy, "user": t.user, "company": companyID,
		"project": lo.EmptyableToPtr(t.project), "parent": lo.EmptyableToPtr(t.parent), "comment": t.comment,
		"tags": t.tags, "system_tags": t.systemTags, "last_worker": lo.EmptyableToPtr(t.lastWorker),
		"last_worker_report": stamp(t.lastWorkerReport), "last_iteration": t.lastIteration,
		"enqueue_status": lo.EmptyableToPtr(t.enqueueStatus), "active_duration": t.activeSeconds(),
	}
}

// activeSeconds is how long a task has run, nil before its first start.
func (t *task) activeSeconds() any {
	end := t.completed
	if end < t.started {
		end = t.lastUpdate
	}
	if t.started == 0 || end < t.started {
		return nil
	}
	return (end - t.started) / 1e6
}

// withQueue shows the queue in execution, where the protocol has it, and what
// clients reach into without looking.
func withQueue(raw json.RawMessage, queue string) any {
	e := object{}
	if len(raw) > 0 && json.Unmarshal(raw, &e) != nil {
		e = object{}
	}
	delete(e, "queue")
	if e["artifacts"] == nil {
		e["artifacts"] = json.RawMessage("[]")
	}
	if e["parameters"] == nil {
		e["parameters"] = json.RawMessage("{}")
	}
	if queue != "" {
		e["queue"], _ = json.Marshal(queue) // a string always encodes
	}
	return e
}

// pick keeps of v only what lies at the paths.
func pick(v any, paths [][]string) any {
	data, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	out := map[string]any{}
	for _, path := range paths {
		raw := json.RawMessage(data)
		for _, key := range path {
			var o object
			if json.Unmarshal(raw, &o) != nil || o[key] == nil {
				raw = nil
				break
			}
			raw = o[key]
		}
		if raw != nil {
			put(out, path, raw)
		}
	}
	return out
}

func put(out map[string]any, path []string, v any) {
	for _, key := range path[:len(path)-1] {
		next, ok := out[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			out[key] = next
		}
		out = next
	}
	out[path[len(path)-1]] = v
}

// metricKey is the protocol's key of a metric or a variant in last_metrics.
func metricKey(name string) string {
	sum := md5.Sum([]byte(name)) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}
