package source

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Times of a follower.
const (
	// debounce is how long to wait after the first event before reading: writers
	// make several. It does not start anew with each event, so that a file that is
	// written without pause is read all the same.
	debounce = 50 * time.Millisecond
	// slowPoll finds what no event told of: network file systems, a folder above
	// that was renamed, a mount over it, a queue of events that ran over.
	slowPoll = 5 * time.Second
	// A file that was written to within fresh may be half of what it will be: it is
	// read again until it stays the same for that long, at most settleTries times.
	// One that was renamed into place was written before, and is taken at once.
	fresh       = 10 * time.Millisecond
	settleTries = 5
)

// follower reads a file, or all specs of a folder, now and whenever it may have changed, and hands on each
// reading that differs from the last. Every event is only a hint: what counts is
// what the file holds. A watch on the file itself would die with the first rename,
// so folders are watched (editors rename, Kubernetes swaps the link ..data).
type follower struct {
	path string
	read func(path string) reading
	dirs func(path string) []string // to watch
	log  *slog.Logger
	emit func(text []byte, err error)
	poll time.Duration

	watcher *fsnotify.Watcher // nil where the system gives none
	watched map[string]os.FileInfo
	blind   bool // some folder can't be watched; said once
	last    *reading
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	f.watched = map[string]os.FileInfo{}
	var events chan fsnotify.Event
	var errs chan error
	w, err := fsnotify.NewWatcher()
	if err != nil {
		f.unseen(err)
	} else {
		defer func() { _ = w.Close() }()
		f.watcher, events, errs = w, w.Events, w.Errors
	}
	poll := time.NewTicker(f.poll)
	defer poll.Stop()
	var due <-chan time.Time
	f.look(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
		case err := <-errs:
			f.log.Debug("events of the spec's folder were lost", "error", err)
		case <-poll.C:
			f.look(ctx)
			continue
		case <-due:
			due = nil
			f.look(ctx)
			continue
		}
		if due == nil {
			due = time.After(debounce)
		}
	}
}

// look sets the watches again, since a link may lead elsewhere now, and only then
// reads: a change between the two makes an event.
func (f *follower) look(ctx context.Context) {
	f.rewatch()
	next, ok := f.settled(ctx)
	if !ok || f.last != nil && next.same(*f.last) {
		return
	}
	f.last = &next
	f.emit(next.text, next.err)
}

// settled reads the file, again while it is being written to.
func (f *follower) settled(ctx context.Context) (reading, bool) {
	r := f.read(f.path)
	for range settleTries {
		if !r.torn && time.Since(r.modified) > fresh || r.err != nil {
			break
		}
		select {
		case <-ctx.Done():
			return reading{}, false
		case <-time.After(fresh):
		}
		again := f.read(f.path)
		if !again.torn && again.same(r) {
			return again, true
		}
		r = again
	}
	return r, ctx.Err() == nil
}

func (r reading) same(o reading) bool {
	return bytes.Equal(r.text, o.text) && (r.err == nil) == (o.err == nil) &&
		(r.err == nil || r.err.Error() == o.err.Error())
}

// rewatch watches what the path leads through now. A folder of the same name that
// is another one than before has lost its watch without a word.
func (f *follower) rewatch() {
	if f.watcher == nil {
		return
	}
	dirs := f.dirs(f.path)
	for dir, was := range f.watched {
		now, err := os.Stat(dir)
		if err == nil && os.SameFile(was, now) && slices.Contains(dirs, dir) {
			continue
		}
		_ = f.watcher.Remove(dir) // it may be gone by itself
		delete(f.watched, dir)
	}
	for _, dir := range dirs {
		fi, err := os.Stat(dir)
		if err == nil {
			// Also where it is watched already: a folder that was moved away and back
			// is the same one, without its watch.
			err = f.watcher.Add(dir)
		}
		if err != nil {
			f.unseen(err)
			continue
		}
		f.watched[dir] = fi
	}
}

func (f *follower) unseen(err error) {
	if !f.blind {
		f.log.Warn("cannot watch the spec's folder, reading the file now and then instead", "path", f.path, "every", f.poll, "error", err)
	}
	f.blind = true
}
