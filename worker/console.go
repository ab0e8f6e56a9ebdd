package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"agentctl/clearml"
	"agentctl/internal/fsx"
	"agentctl/runtime"
)

// Limits of what goes to the server at once. ClearML's own agent sends events of
// at most 64 KiB in packets of at most 1 MiB.
const (
	maxEvent     = 64 << 10
	maxBatch     = 1 << 20
	flushAfter   = 100 * time.Millisecond
	partialAfter = 2 * time.Second // a line without an end is sent after this silence
)

// position is a place in a console: a frame by its offset in the file, and how
// many bytes of that frame's data are behind the place.
type position struct {
	Frame int64 `json:"frame"`
	Skip  int   `json:"skip"`
}

// mark is an event that is about to be sent: its timestamp, which is unique for
// its task, and the place in the console behind it.
type mark struct {
	Time int64    `json:"time"` // ms
	Pos  position `json:"pos"`
	// Sum is of the event's text: the SDK in the task reports under the same
	// worker's name, so a timestamp alone may be of an event that is not ours.
	Sum uint64 `json:"sum"`
}

// cursor says how far a console is on the server. It is written before each
// batch is sent, so that after a lost answer, or a kill, the events that the
// server holds tell which of the pending ones arrived.
type cursor struct {
	Version int    `json:"version"`
	Sent    mark   `json:"sent"`
	Pending []mark `json:"pending,omitempty"`
}

// eventLog is the part of the ClearML protocol that a sender needs.
type eventLog interface {
	AddEvents(ctx context.Context, events []clearml.LogEvent) error
	LastLogEvents(ctx context.Context, task string, n int) ([]clearml.LogEvent, error)
}

// sender brings the console of one task to the server: in order, each line once.
// It is one goroutine's.
type sender struct {
	dir, task, worker string
	server            eventLog
	log               *slog.Logger
	hide              []string // strings that must not leave the node
	last              bool     // nothing more will be written: don't wait for an end
	retry             func(ctx context.Context, attempt int) error

	cur  cursor
	text []byte // not yet sent, from cur.Sent.Pos on
	ends []segment
	// single has events sent one by one, since the server has refused several: one of
	// them may be to blame, or their size together.
	single   bool
	refusals int // one after the other
}

const cursorFile = runtime.CursorFile

// run sends until the console ends; it returns nil when everything is on the
// server, or when the task is gone from it.
func (s *sender) run(ctx context.Context) error {
	if err := s.resume(ctx); err != nil {
		return err
	}
	console, err := runtime.OpenConsole(s.dir, s.cur.Sent.Pos.Frame)
	if err != nil {
		return err
	}
	defer func() { _ = console.Close() }()
	if s.last {
		console.Finish()
	}
	for {
		end, err := s.collect(ctx, console)
		if err != nil {
			return err
		}
		if err := s.flush(ctx, end); err != nil {
			return err
		}
		if end == consoleEnd {
			return nil
		}
	}
}

// resume reads the cursor and settles what an earlier sender left pending.
func (s *sender) resume(ctx context.Context) error {
	err := fsx.ReadJSON(filepath.Join(s.dir, cursorFile), &s.cur)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("console cursor unreadable, lines may be sent again", "error", err)
		s.cur = cursor{}
	}
	s.cur.Version = 1
	return s.settle(ctx)
}

func checksum(text string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, text)
	return h.Sum64()
}

// save writes the cursor. The rename without an fsync survives a kill of the
// agent, which is what it is for; after a power cut lines may be sent again.
func (s *sender) save() error {
	return fsx.ReplaceJSON(filepath.Join(s.dir, cursorFile), s.cur, 0o600)
}

// flush sends what has been collected: whole lines, and the rest too when the
// console is silent or has ended.
func (s *sender) flush(ctx context.Context, why collected) error {
	size := bytes.LastIndexByte(s.text, '\n') + 1
	if why != consoleMore || len(s.text) >= maxBatch {
		size = len(s.text)
	}
	for size > 0 {
		events, marks, used := s.batch(size)
		sent, err := s.send(ctx, events, marks)
		if err != nil {
			return err
		}
		if !sent {
			// Only a part arrived, or less is to be sent at once: the cursor says how far it
			// is, so read on from there.
			return s.reread()
		}
		s.drop(used)
		size -= used
	}
	return nil
}

// errReread asks the caller of run to start anew from the cursor.
var errReread = errors.New("console: read again from the cursor")

func (s *sender) reread() error {
	s.text, s.ends = nil, nil
	return errReread
}

// errTaskGone means that the server no longer knows the task.
var errTaskGone = errors.New("the server no longer knows the task")

// deliver runs the sender, from its cursor again where a batch arrived in part.
func (s *sender) deliver(ctx context.Context) error {
	for {
		err := s.run(ctx)
		if errors.Is(err, errTaskGone) {
			return nil
		}
		if !errors.Is(err, errReread) {
			if err != nil {
				return fmt.Errorf("cannot send the console: %w", err)
			}
			return nil
		}
	}
}
