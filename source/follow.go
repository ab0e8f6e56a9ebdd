package source

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// debounce is how long to wait after the first event before reading: writers
// make several. It does not start anew with each event, so that a file that is
// written without pause is read all the same.
const debounce = 50 * time.Millisecond

// slowPoll finds changes that no event told of: network file systems, a folder
// that was deleted and made again.
const slowPoll = 5 * time.Second

// Reading is what a look at the file found: its text, or why it has none.
type Reading struct {
	Path string
	Text []byte
	Err  error
}

// Follow reads the file at path now and whenever it may have changed, and calls
// emit with each reading that differs from the last. It returns when ctx ends.
//
// Every event is only a hint. A watch on the file itself would die with the
// first rename, so the folder of each symbolic link on the way is watched
// (editors rename, Kubernetes swaps the link ..data).
func Follow(ctx context.Context, path string, log *slog.Logger, emit func(Reading)) {
	f := follower{path: path, log: log, emit: emit, watched: map[string]bool{}}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("cannot watch the spec file, polling it", "error", err)
		w = nil
	} else {
		defer func() { _ = w.Close() }()
	}
	f.watcher = w
	f.run(ctx)
}

type follower struct {
	path    string
	log     *slog.Logger
	emit    func(Reading)
	watcher *fsnotify.Watcher
	watched map[string]bool

	read bool // something was emitted
	last Reading
}

func (f *follower) run(ctx context.Context) {
	var events chan fsnotify.Event
	var errs chan error
	if f.watcher != nil {
		events, errs = f.watcher.Events, f.watcher.Errors
	}
	poll := time.NewTicker(slowPoll)
	defer poll.Stop()
	f.look()
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			if due == nil {
				due = time.After(debounce)
			}
		case err := <-errs:
			f.log.Debug("watch of the spec file", "error", err)
		case <-poll.C:
			f.look()
		case <-due:
			due = nil
			f.look()
		}
	}
}

// look sets the watches again, since a link may lead elsewhere now, and only
// then reads: a change between the two makes an event.
func (f *follower) look() {
	f.rewatch()
	text, err := ReadFile(f.path)
	next := Reading{Path: f.path, Text: text, Err: err}
	same := f.read && bytes.Equal(next.Text, f.last.Text) && errText(next.Err) == errText(f.last.Err)
	if same {
		return
	}
	f.read, f.last = true, next
	f.emit(next)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (f *follower) rewatch() {
	if f.watcher == nil {
		return
	}
	want := map[string]bool{}
	for _, dir := range folders(f.path) {
		want[dir] = true
	}
	for dir := range f.watched {
		if !want[dir] {
			_ = f.watcher.Remove(dir)
			delete(f.watched, dir)
		}
	}
	// Added anew each time: a folder that was deleted and made again has lost its
	// watch without a word.
	for dir := range want {
		f.watched[dir] = f.watcher.Add(dir) == nil
	}
}

// maxHops bounds a chain of links that may lead in a circle.
const maxHops = 40

// folders lists the folder of path and of each link that it leads through, and
// of each folder above that is a link itself; for what is missing, the nearest
// folder that is there.
func folders(path string) []string {
	var out []string
	for range maxHops {
		dir := filepath.Dir(path)
		for !isDir(dir) && dir != "/" {
			dir = filepath.Dir(dir)
		}
		out = append(out, dir)
		real, err := filepath.EvalSymlinks(dir)
		if err == nil && real != dir {
			out = append(out, real)
			out = append(out, linkParents(dir)...)
		}
		target, err := os.Readlink(path)
		if err != nil {
			return out
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return out
}

// linkParents lists the folders that hold a link on the way to dir.
func linkParents(dir string) []string {
	var out []string
	for ; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if fi, err := os.Lstat(dir); err == nil && fi.Mode()&os.ModeSymlink != 0 {
			out = append(out, filepath.Dir(dir))
		}
	}
	return out
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}
