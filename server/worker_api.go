package server

import (
	"encoding/json"
	"time"

	"agentctl/clearml"

	"github.com/samber/lo"
)

func workerEndpoints() []*endpoint {
	return []*endpoint{
		operator(on("workers.register", registerWorker)),
		operator(on("workers.unregister", unregisterWorker)),
		operator(on("workers.status_report", statusReport)),
		operator(on("workers.get_all", getWorkers)),
		operator(on("workers.get_count", countWorkers)),
		operator(on("workers.get_activity_report", activity)),
		operator(on("workers.get_metric_keys", metricKeys)),
		operator(on("workers.get_stats", workerStats)),
		operator(on("workers.get_runtime_properties", getProperties)),
		operator(on("workers.set_runtime_properties", setProperties)),
	}
}

type registerRequest struct {
	Worker     string `json:"worker" need:"1"`
	Queues     texts  `json:"queues"`
	Timeout    int64  `json:"timeout"`
	Tags       texts  `json:"tags"`
	SystemTags texts  `json:"system_tags"`
}

const maxWorkerID = 500

const maxWorkerLife = 30 * 24 * 3600 // s

func registerWorker(c *call, req *registerRequest) (any, error) {
	if req.Timeout < 0 || req.Timeout > maxWorkerLife {
		return nil, invalid("timeout", "must be 0 to %d seconds", maxWorkerLife)
	}
	now := c.srv.now().UnixMicro()
	w := &worker{
		ID: req.Worker, Queues: nonNil(req.Queues), Timeout: req.Timeout, Tags: nonNil(req.Tags), SystemTags: req.SystemTags,
		RegisterTime: now, seen: now,
	}
	if w.Timeout == 0 {
		w.Timeout = int64(defaultWorkerLife / time.Second)
	}
	return none{}, c.saveWorker(w, nil)
}

// saveWorker makes a worker known, after its queues have been checked, with some
// properties beside those that it has.
func (c *call) saveWorker(w *worker, set []property) error {
	if len(w.ID) > maxWorkerID {
		return invalid("worker", "longer than %d bytes", maxWorkerID)
	}
	return c.update(func(t *tx) error {
		for _, q := range w.Queues {
			if _, err := findQueue(t.view, q); err != nil {
				return err
			}
		}
		if err := t.setProperties(w, set); err != nil {
			return err
		}
		doc, err := json.Marshal(w)
		if err != nil {
			return err
		}
		if !c.srv.workers.room(w.ID) {
			return refuse(400, 1002, "Worker registration failed (too many workers)")
		}
		t.onCommit(func() { c.srv.workers.put(w) })
		_, err = t.exec(`INSERT INTO worker(id, doc) VALUES(?, ?) ON CONFLICT(id) DO UPDATE SET doc = excluded.doc`, w.ID, string(doc))
		return err
	})
}

func unregisterWorker(c *call, req *struct {
	Worker string `json:"worker" need:"1"`
}) (any, error) {
	c.srv.workers.remove(req.Worker)
	return none{}, c.update(func(t *tx) error {
		_, err := t.exec(`DELETE FROM worker WHERE id = ?`, req.Worker)
		return err
	})
}

type reportRequest struct {
	Worker    string          `json:"worker" need:"1"`
	Timestamp json.Number     `json:"timestamp"`
	Task      string          `json:"task"`
	Queue     string          `json:"queue"`
	Queues    texts           `json:"queues"`
	Tags      *texts          `json:"tags"`
	Stats     json.RawMessage `json:"machine_stats"`
}

// statusReport renews a worker, making it known if need be, and the task it
// runs: the watchdog stops tasks without a sign of life.
func statusReport(c *call, req *reportRequest) (any, error) {
	if req.Timestamp == "" {
		return nil, missing("timestamp")
	}
	if len(req.Worker) > maxWorkerID {
		return nil, invalid("worker", "longer than %d bytes", maxWorkerID)
	}
	if len(req.Stats) > 64<<10 {
		return nil, invalid("machine_stats", "larger than 64 KiB")
	}
	if req.Task != "" {
		if err := c.update(func(t *tx) error { return t.reported(req) }); err != nil {
			return nil, err
		}
	}
	note := func(w *worker) {
		w.task, w.queue, w.stats = req.Task, req.Queue, req.Stats
		if req.Tags != nil {
			w.Tags = nonNil(*req.Tags)
		}
	}
	now := c.srv.now().UnixMicro()
	c.srv.stats.note(req.Worker, now, req.Task != "", req.Stats)
	if c.srv.workers.seen(req.Worker, now, note) {
		return none{}, nil
	}
	w := unregistered(req.Worker, now)
	w.Queues, w.report = nonNil(req.Queues), now
	note(w)
	return none{}, c.saveWorker(w, nil)
}

// unregistered is a worker that makes itself known by another call than register.
func unregistered(id string, now int64) *worker {
	return &worker{ID: id, Queues: []string{}, Timeout: int64(defaultWorkerLife / time.Second), Tags: []string{}, RegisterTime: now, seen: now}
}

// reported notes on a task which worker speaks for it.
func (t *tx) reported(req *reportRequest) error {
	row, err := needTask(t.view, req.Task)
	if err != nil {
		return err
	}
	set := map[string]any{"last_worker": req.Worker, "last_worker_report": t.now}
	if row.Status == clearml.StatusInProgress {
		set["last_update"] = t.now
	}
	if row.lastWorker != req.Worker {
		t.touch(taskTopic(row.ID))
	}
	return t.setTask(row.n, set)
}

type workersQuery struct {
	LastSeen      int64  `json:"last_seen"` // s
	WorkerPattern string `json:"worker_pattern"`
	Tags          texts  `json:"tags"`
	SystemTags    texts  `json:"system_tags"`
}

// find lists the live workers that the query wants.
func (q *workersQuery) find(c *call) ([]worker, error) {
	now := c.srv.now().UnixMicro()
	all := c.srv.workers.alive(now)
	if q.WorkerPattern != "" {
		re, err := compile(q.WorkerPattern)
		if err != nil {
			return nil, refuse(400, 21, "Malformed regular expression: %.200s", q.WorkerPattern)
		}
		all = lo.Filter(all, func(w worker, _ int) bool { return re.MatchString(w.ID) })
	}
	if q.LastSeen > 0 && q.LastSeen < maxWorkerLife {
		all = lo.Filter(all, func(w worker, _ int) bool { return w.seen >= now-q.LastSeen*1e6 })
	}
	if len(q.Tags) > 0 {
		all = lo.Filter(all, func(w worker, _ int) bool { return len(lo.Intersect(w.Tags, q.Tags)) > 0 })
	}
	return all, nil
}

func countWorkers(c *call, req *workersQuery) (any, error) {
	all, err := req.find(c)
	return map[string]any{"count": len(all)}, err
}

func getWorkers(c *call, req *workersQuery) (any, error) {
	all, err := req.find(c)
	if err != nil {
		return nil, err
	}
	docs := []any{}
	for i := range all {
		doc, err := all[i].doc(c.read(), c.srv.now().UnixMicro())
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return map[string]any{"workers": docs}, nil
}

func (w *worker) doc(v *view, now int64) (map[string]any, error) {
	queues := []any{}
	for _, id := range w.Queues {
		q, err := w.queueDoc(v, id)
		if err != nil {
			return nil, err
		}
		if q != nil {
			queues = append(queues, q)
		}
	}
	doc := map[string]any{
		"id": w.ID, "ip": w.IP, "key": companyID + "_" + userID + "_" + w.ID, "queues": queues,
		"user": map[string]any{"id": userID, "name": userName}, "company": map[string]any{"id": companyID, "name": companyName},
		"register_time": stamp(w.RegisterTime), "register_timeout": w.Timeout, "last_activity_time": stamp(w.seen),
		"tags": w.Tags, "system_tags": nonNil(w.SystemTags),
	}
	if w.report != 0 {
		doc["last_report_time"] = stamp(w.report)
	}
	if w.queue != "" {
		q, err := w.queueDoc(v, w.queue)
		if err != nil {
			return nil, err
		}
		if q != nil {
			doc["queue"] = q
		}
	}
	return doc, w.addTask(v, now, doc)
}

func (w *worker) queueDoc(v *view, id string) (map[string]any, error) {
	var name string
	var n int64
	found, err := v.one(`SELECT q.name, (SELECT count(*) FROM entry e WHERE e.queue = q.id) FROM queue q WHERE q.id = ?`, args(id), &name, &n)
	if err != nil || !found {
		return nil, err
	}
	return map[string]any{"id": id, "name": name, "num_tasks": n}, nil
}

func (w *worker) addTask(v *view, now int64, doc map[string]any) error {
	if w.task == "" {
		return nil
	}
	t, err := getTask(v, w.task)
	if err != nil || t == nil {
		return err
	}
	running := int64(0)
	if t.started > 0 {
		running = max(0, now-t.started) / 1000
	}
	doc["task"] = map[string]any{"id": t.ID, "name": t.Name, "running_time": running, "last_iteration": t.lastIteration}
	var name string
	if found, err := v.one(`SELECT name FROM project WHERE id = ?`, args(t.project), &name); err != nil || !found {
		return err
	}
	doc["project"] = map[string]any{"id": t.project, "name": name}
	return nil
}
