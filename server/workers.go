package server

import (
	"encoding/json"
	"sort"
	"sync"
	"time"
)

// defaultWorkerLife is how long after its last report a worker is forgotten.
const defaultWorkerLife = 600 * time.Second

// worker is a worker as it made itself known. What it was registered with is
// kept on disk; when it was seen last is not, so after a start of the server
// every worker counts as just seen.
type worker struct {
	ID           string   `json:"id"`
	Queues       []string `json:"queues"`
	Timeout      int64    `json:"timeout"` // s
	Tags         []string `json:"tags"`
	SystemTags   []string `json:"system_tags,omitempty"`
	IP           string   `json:"ip,omitempty"`
	RegisterTime int64    `json:"register_time"` // µs

	Properties map[string]property `json:"properties,omitempty"`

	seen, report int64 // µs
	task, queue  string
	stats        json.RawMessage
}

func (w *worker) expired(now int64) bool { return now > w.seen+w.Timeout*1e6 }

// maxWorkers bounds what a hostile client can make the server remember.
const maxWorkers = 20_000

// workers is the list of workers. It may be used from any goroutine.
type workers struct {
	mu    sync.Mutex
	known map[string]*worker
}

func loadWorkers(v *view, now int64) (*workers, error) {
	ws := &workers{known: map[string]*worker{}}
	err := v.each(`SELECT doc FROM worker`, nil, func(scan func(...any) error) error {
		var doc []byte
		if err := scan(&doc); err != nil {
			return err
		}
		w := worker{seen: now}
		if err := json.Unmarshal(doc, &w); err != nil {
			return err
		}
		ws.known[w.ID] = &w
		return nil
	})
	return ws, err
}

// room tells whether one more worker of that id may be known.
func (ws *workers) room(id string) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.known[id] != nil || len(ws.known) < maxWorkers
}

// put adds or replaces a worker.
func (ws *workers) put(w *worker) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.known[w.ID] = w
}

func (ws *workers) remove(id string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.known, id)
}

// seen notes a report; it tells false for a worker that is not known.
func (ws *workers) seen(id string, now int64, note func(*worker)) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.known[id]
	if w == nil || w.expired(now) {
		return false
	}
	w.seen, w.report = now, now
	note(w)
	return true
}

// expire forgets workers that went silent and returns their ids.
func (ws *workers) expire(now int64) (gone []string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for id, w := range ws.known {
		if w.expired(now) {
			delete(ws.known, id)
			gone = append(gone, id)
		}
	}
	return gone
}

// alive lists copies of the workers that are not expired, by id.
func (ws *workers) alive(now int64) []worker {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var out []worker
	for _, w := range ws.known {
		if !w.expired(now) {
			out = append(out, *w)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

// watch tells whether a live worker serves the queue.
func (ws *workers) watch(queue string, now int64) bool {
	for _, w := range ws.alive(now) {
		for _, q := range w.Queues {
			if q == queue {
				return true
			}
		}
	}
	return false
}
