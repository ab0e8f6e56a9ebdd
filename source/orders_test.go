package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// model is what operators expect of a node with pinned sources.
type model struct {
	source, live, reason, back string
	until                      time.Time
	accepted                   []string // newest last
}

func (m *model) accept(word string) {
	if word != m.live {
		m.live, m.accepted = word, append(m.accepted, word)
	}
}

// pass is what time does.
func (m *model) pass() {
	if m.reason == ReasonTrying && !time.Now().Before(m.until) {
		m.accept(m.back)
		m.reason = ReasonReverted
	}
}

// before is what a rollback goes back to, "" if there is nothing.
func (m *model) before() string {
	for _, word := range slices.Backward(m.accepted[:max(0, len(m.accepted)-1)]) {
		if word != m.live {
			return word
		}
	}
	return ""
}

// order does what an operator may do, and says whether it is refused.
func (m *model) order(op, word string) (refused bool) {
	suspended, trying := m.reason != "", m.reason == ReasonTrying
	switch op {
	case "apply":
		refused = suspended
	case "apply --resume":
	case "suspend":
		refused = m.source == "" || trying
	case "resume":
		refused = !suspended || trying
	case "rollback":
		refused = m.before() == ""
	case "try":
		refused = m.live == "" || m.live == word
	case "confirm":
		refused = !trying
	}
	if refused {
		return true
	}
	switch op {
	case "apply", "apply --resume":
		m.source, m.reason = word, ""
		m.accept(word)
	case "suspend":
		m.reason = ReasonSuspended
	case "resume":
		m.reason = ""
		m.accept(m.source)
	case "rollback":
		m.accept(m.before())
		m.reason = ReasonRolledBack
	case "try":
		m.reason, m.back, m.until = ReasonTrying, m.live, time.Now().Add(time.Hour)
		m.accept(word)
	case "confirm":
		m.source, m.reason = m.live, ""
	}
	return false
}

func give(m *Manager, op, word string) (u Update, err error) {
	switch op {
	case "apply":
		return m.ApplyText("-", text(word), Order{})
	case "apply --resume":
		return m.ApplyText("-", text(word), Order{Resume: true})
	case "suspend":
		return m.Suspend("me", "")
	case "resume":
		return m.Resume()
	case "rollback":
		return m.Rollback(0, Order{})
	case "try":
		return m.ApplyText("-", text(word), Order{Resume: true, Try: time.Hour})
	case "confirm":
		return m.Confirm()
	}
	return Update{}, errors.New("no such order")
}

// alive is an agent, as far as a source can tell.
func alive(t *testing.T, dir string) (m *Manager, stop func()) {
	m = open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	ran, fed := make(chan struct{}), make(chan struct{})
	go func() { defer close(ran); _ = m.Run(ctx) }()
	go func() {
		defer close(fed)
		for {
			select {
			case <-ctx.Done():
				return
			case u := <-m.Updates():
				settle(t, m, u)
			}
		}
	}()
	return m, func() { cancel(); <-ran; <-fed }
}

// Whatever operators order, in whatever order, with restarts in between and as time
// passes: what is in force is what they expect.
func TestOrders(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) { // a bubble has no Deadline
			dir, err := os.MkdirTemp(root, "")
			must(t, err)
			m, stop := alive(t, dir)
			defer func() { stop() }()
			want := &model{}
			said := ""
			for range rapid.IntRange(1, 10).Draw(rt, "orders") {
				op := rapid.SampledFrom([]string{
					"apply", "apply", "apply --resume", "suspend", "resume", "rollback", "try", "try", "confirm", "restart", "wait", "die and wait",
				}).Draw(rt, "op")
				what := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "word")
				said += fmt.Sprintf("%s %s, ", op, what)
				switch op {
				case "restart":
					stop()
					m, stop = alive(t, dir)
				case "wait":
					time.Sleep(40 * time.Minute)
				case "die and wait":
					stop()
					time.Sleep(40 * time.Minute)
					m, stop = alive(t, dir)
				default:
					u, err := give(m, op, what)
					if refused := want.order(op, what); refused != (err != nil) {
						rt.Fatalf("%s: refused %v, got %v", said, refused, err)
					}
					if err == nil && !rapid.Bool().Draw(rt, "died") {
						settle(t, m, u)
					}
				}
				synctest.Wait()
				want.pass()
				live, reason := "", ""
				if _, good, ok := m.LastGood(); ok {
					live = word(good)
				}
				if s := m.Current().Suspended; s != nil {
					reason = s.Reason
				}
				if live != want.live || reason != want.reason {
					rt.Fatalf("%s: in force is %s, %s; want %s, %s", said, live, reason, want.live, want.reason)
				}
			}
		})
	})
}
