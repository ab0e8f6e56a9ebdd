package server

import (
	"sync"
	"time"
)

// notifier tells those who wait what has changed. A revision is a number that
// rises with every commit that changed something; a topic is a queue or a task.
type notifier struct {
	mu       sync.Mutex
	revision int64
	changed  map[string]int64 // topic → revision of its last change
	floor    int64            // what is not in changed counts as changed at floor
	waiters  map[string]map[*waiter]struct{}
}

type waiter struct{ woken chan struct{} }

// maxTopics bounds the memory of what changed when. Beyond it everything counts
// as just changed, which costs those who wait one needless read.
const maxTopics = 100_000

// newNotifier starts at a revision above that of any earlier process on this
// machine, so that who comes with one from before is answered at once.
func newNotifier(now time.Time) *notifier {
	start := now.UnixMicro()
	return &notifier{
		revision: start, floor: start,
		changed: map[string]int64{}, waiters: map[string]map[*waiter]struct{}{},
	}
}

// publish records a commit's changes and wakes who waits for one of them.
func (n *notifier) publish(topics []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.revision++
	if len(n.changed) > maxTopics {
		clear(n.changed)
		n.floor = n.revision
	}
	for _, t := range topics {
		n.changed[t] = n.revision
		for w := range n.waiters[t] {
			select {
			case w.woken <- struct{}{}:
			default:
			}
		}
	}
}

// subscribe begins a wait for topics. It must be ended by unsubscribe.
func (n *notifier) subscribe(topics []string) *waiter {
	w := &waiter{woken: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range topics {
		if n.waiters[t] == nil {
			n.waiters[t] = map[*waiter]struct{}{}
		}
		n.waiters[t][w] = struct{}{}
	}
	return w
}

func (n *notifier) unsubscribe(w *waiter, topics []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range topics {
		delete(n.waiters[t], w)
		if len(n.waiters[t]) == 0 {
			delete(n.waiters, t)
		}
	}
}

// fresh gives the present revision and tells whether one of the topics has
// changed after revision since. A since from the future is another server's.
func (n *notifier) fresh(topics []string, since int64) (revision int64, changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if since < n.floor || since > n.revision {
		return n.revision, true
	}
	for _, t := range topics {
		if n.changed[t] > since {
			return n.revision, true
		}
	}
	return n.revision, false
}

func queueTopic(id string) string { return "q:" + id }
func taskTopic(id string) string  { return "t:" + id }
