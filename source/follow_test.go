package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentctl/spec"
)

// long is how long a test waits for what must come.
const long = 2 * time.Minute

// following is a follower that goes, with the newest of what it said.
type following struct {
	t    *testing.T
	path string
	said chan reading
	n    int // readings so far
}

// follow starts a follower that gets news by events alone, unless poll says else.
func follow(t *testing.T, path string, poll time.Duration) *following {
	t.Helper()
	return followAs(t, follower{path: path, read: readFile, dirs: folders, poll: poll})
}

func followAs(t *testing.T, w follower) *following {
	t.Helper()
	path := w.path
	f := &following{t: t, path: path, said: make(chan reading, 10_000)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	w.log = slog.New(slog.DiscardHandler)
	w.emit = func(text []byte, err error) { f.said <- reading{text: text, err: err} }
	go func() { defer close(done); w.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

const byEvents = time.Hour

// until waits for a reading that is as wanted, and returns it.
func (f *following) until(what string, ok func(reading) bool) reading {
	f.t.Helper()
	deadline := time.After(long)
	for last := (reading{}); ; {
		select {
		case last = <-f.said:
			if f.n++; ok(last) {
				return last
			}
		case <-deadline:
			f.t.Fatalf("never saw %s; the last was %.80q, %v", what, last.text, last.err)
		}
	}
}

func (f *following) text(want string) {
	f.t.Helper()
	f.until(fmt.Sprintf("%.80q", want), func(r reading) bool { return r.err == nil && string(r.text) == want })
}

func (f *following) fails(reason string) {
	f.t.Helper()
	f.until(reason, func(r reading) bool {
		var known *ReadError
		return errors.As(r.err, &known) && known.Reason() == reason
	})
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// put writes a file in place, as a shell's > does.
func put(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600))
}

// place writes a file beside and renames it, as most editors do.
func place(t *testing.T, path, text string) {
	t.Helper()
	tmp := path + ".new"
	must(t, os.WriteFile(tmp, []byte(text), 0o600), os.Rename(tmp, path))
}

func TestFollowFile(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path, text string){
		"written in place": put,
		"renamed":          place,
		"moved aside first": func(t *testing.T, path, text string) { // vim with backupcopy=no
			must(t, os.Rename(path, path+"~"))
			put(t, path, text)
			must(t, os.Remove(path+"~"))
		},
		"deleted and made again": func(t *testing.T, path, text string) {
			must(t, os.Remove(path))
			put(t, path, text)
		},
		"in pieces": func(t *testing.T, path, text string) {
			file, err := os.OpenFile(path, os.O_TRUNC|os.O_WRONLY, 0)
			must(t, err)
			for i := range len(text) {
				_, err := file.WriteString(text[i : i+1])
				must(t, err)
			}
			must(t, file.Close())
		},
		"shortened, then written": func(t *testing.T, path, text string) {
			must(t, os.Truncate(path, 0))
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = file.WriteString(text)
			must(t, err, file.Close())
		},
		"folder deleted and made again": func(t *testing.T, path, text string) {
			must(t, os.RemoveAll(filepath.Dir(path)), os.Mkdir(filepath.Dir(path), 0o700))
			put(t, path, text)
		},
		"folder replaced": func(t *testing.T, path, text string) {
			dir := filepath.Dir(path)
			must(t, os.Mkdir(dir+".next", 0o700))
			put(t, filepath.Join(dir+".next", filepath.Base(path)), text)
			must(t, os.RemoveAll(dir+".last"), os.Rename(dir, dir+".last"), os.Rename(dir+".next", dir))
		},
		"folder moved away and back": func(t *testing.T, path, text string) {
			dir := filepath.Dir(path)
			must(t, os.Rename(dir, dir+".away"), os.Rename(dir+".away", dir))
			time.Sleep(2 * debounce) // so that the follower has looked: its watch must be there again
			place(t, path, text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "etc")
			must(t, os.Mkdir(dir, 0o700))
			path := filepath.Join(dir, "node.yaml")
			put(t, path, "first")
			f := follow(t, path, byEvents)
			f.text("first")
			for i := range 3 {
				text := fmt.Sprintf("%s number %d", strings.Repeat("x", 100*i), i)
				change(t, path, text)
				f.text(text)
			}
		})
	}
}

// What stands at the path and is no readable file is said, and the file is found
// again when it is back.
func TestFollowWhatIsNoFile(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		spoil  func(path string) error
	}{
		"gone":   {"Missing", func(string) error { return nil }},
		"folder": {"NotAFile", func(path string) error { return os.Mkdir(path, 0o700) }},
		"pipe":   {"NotAFile", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		"large":  {"TooLarge", func(path string) error { return os.WriteFile(path, make([]byte, spec.MaxSize+1), 0o600) }},
		"dangling link": {"Missing", func(path string) error {
			return os.Symlink(path+".not-there", path)
		}},
		"link in a circle": {"Unreadable", func(path string) error { return os.Symlink(path, path) }},
		"folder gone":      {"Missing", func(path string) error { return os.RemoveAll(filepath.Dir(path)) }},
		"folder a file": {"Missing", func(path string) error {
			return errors.Join(os.RemoveAll(filepath.Dir(path)), os.WriteFile(filepath.Dir(path), nil, 0o600))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "etc")
			path := filepath.Join(dir, "node.yaml")
			must(t, os.Mkdir(dir, 0o700))
			put(t, path, "good")
			f := follow(t, path, byEvents)
			f.text("good")
			must(t, os.Remove(path), c.spoil(path))
			f.fails(c.reason)
			must(t, os.RemoveAll(dir), os.Mkdir(dir, 0o700))
			put(t, path, "good again")
			f.text("good again")
		})
	}
}

// Kubernetes shows a ConfigMap as node.yaml → ..data/node.yaml, ..data → ..TIME, and
// swaps ..data; the old folder goes.
func TestFollowConfigMap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "node.yaml")
	swap := func(n int) string {
		text := fmt.Sprintf("revision %d", n)
		real := fmt.Sprintf("..2026_11_24_%d", n)
		must(t, os.Mkdir(filepath.Join(dir, real), 0o700))
		put(t, filepath.Join(dir, real, "node.yaml"), text)
		must(t, os.Symlink(real, filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		if n == 0 {
			must(t, os.Symlink("..data/node.yaml", path))
		} else {
			must(t, os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..2026_11_24_%d", n-1))))
		}
		return text
	}
	first := swap(0)
	f := follow(t, path, byEvents)
	f.text(first)
	for n := range 5 {
		f.text(swap(n + 1))
	}
}

// Each link of a chain may be changed, and what it leads to.
func TestFollowLinks(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	at := func(elem ...string) string { return filepath.Join(append([]string{top}, elem...)...) }
	for _, dir := range []string{"etc", "a/deep", "b", "c", "far"} {
		must(t, os.MkdirAll(at(dir), 0o700))
	}
	link := func(target, path string) { // ln -sfn
		must(t, os.Symlink(target, path+".new"), os.Rename(path+".new", path))
	}
	put(t, at("a", "deep", "node.yaml"), "in a")
	put(t, at("b", "node.yaml"), "in b")
	put(t, at("c", "real.yaml"), "in c")
	link("../a/deep", at("etc", "current"))
	link("etc/current/node.yaml", at("node.yaml"))
	f := follow(t, at("node.yaml"), byEvents)
	f.text("in a")
	place(t, at("a", "deep", "node.yaml"), "in a, new")
	f.text("in a, new")
	link("../b", at("etc", "current")) // a link in the middle
	f.text("in b")
	put(t, at("b", "node.yaml"), "in b, new")
	f.text("in b, new")
	link("../c/real.yaml", at("b", "node.yaml")) // a file becomes a link
	f.text("in c")
	link(at("far", "missing.yaml"), at("c", "real.yaml")) // an absolute one, to nothing yet
	f.fails("Missing")
	put(t, at("far", "missing.yaml"), "far")
	f.text("far")
	link("etc/current/../c/last.yaml", at("node.yaml")) // .. behind a link: b/.., not etc/..
	put(t, at("c", "last.yaml"), "last")
	f.text("last")
}

// A path whose folders are not there yet is found when they are made.
func TestFollowBeforeAnythingIsThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b", "c", "node.yaml")
	f := follow(t, path, byEvents)
	f.fails("Missing")
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	put(t, path, "there")
	f.text("there")
}

// The slow poll finds what no event tells: a folder further up that was replaced.
func TestFollowByPoll(t *testing.T) {
	t.Parallel()
	top := filepath.Join(t.TempDir(), "top")
	path := filepath.Join(top, "a", "b", "node.yaml")
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	put(t, path, "old")
	f := follow(t, path, 20*time.Millisecond)
	f.text("old")
	must(t, os.Rename(top, top+".old"), os.MkdirAll(filepath.Dir(path), 0o700))
	put(t, path, "new")
	f.text("new")
	other := filepath.Join(t.TempDir(), "other")
	must(t, os.Link(path, other))
	put(t, other, "newer") // an event in no watched folder
	f.text("newer")
}

// The same text is no news, however often it is written.
func TestFollowSameText(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "node.yaml")
	put(t, path, "same")
	f := follow(t, path, 10*time.Millisecond)
	f.text("same")
	for range 20 {
		place(t, path, "same")
		must(t, os.Chtimes(path, time.Now(), time.Now().Add(time.Hour)))
		time.Sleep(5 * time.Millisecond)
	}
	place(t, path, "other")
	f.text("other")
	if f.n != 2 {
		t.Errorf("%d readings of 2 texts", f.n)
	}
}

// Of many edits the last is seen, and not each is read.
func TestFollowBurst(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "node.yaml")
	put(t, path, "0")
	f := follow(t, path, byEvents)
	f.text("0")
	const edits = 500
	for i := range edits {
		place(t, path, fmt.Sprint(i+1))
	}
	f.text(fmt.Sprint(edits))
	if f.n > edits/2 {
		t.Errorf("%d readings of %d edits", f.n, edits)
	}
	select {
	case r := <-f.said:
		t.Errorf("after the last came %q, %v", r.text, r.err)
	case <-time.After(4 * debounce):
	}
}

// A file that is written to without pause is read all the same.
func TestFollowEndlessWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "node.yaml")
	put(t, path, "start")
	f := follow(t, path, byEvents)
	f.text("start")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			_ = os.WriteFile(path, fmt.Appendf(nil, "%d", i), 0o600)
		}
	}()
	f.until("some edit", func(r reading) bool { return r.err == nil && string(r.text) != "start" })
	f.until("another edit", func(r reading) bool { return r.err == nil && string(r.text) != "start" })
	cancel()
	<-done
	put(t, path, "end")
	f.text("end")
}

// The follower ends while it waits for a file to settle.
func TestFollowEndsAtOnce(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "node.yaml")
		put(t, path, "x")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		w := follower{path: path, read: readFile, dirs: folders, poll: byEvents, log: slog.New(slog.DiscardHandler), emit: func([]byte, error) {}}
		go func() { defer close(done); w.run(ctx) }()
		cancel()
		<-done
	}
}

func TestFolders(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	at := func(elem string) string { return filepath.Join(top, elem) }
	must(t, os.MkdirAll(at("a/b"), 0o700), os.Mkdir(at("c"), 0o700),
		os.Symlink("../a", at("c/link")), os.Symlink(at("c/link/b"), at("abs")), os.Symlink("loop", at("loop")))
	put(t, at("a/b/f"), "")
	for path, want := range map[string][]string{
		"a/b/f":          {"a/b"},
		"a/b/missing":    {"a/b"},
		"a/x/y/z":        {"a"},
		"a/b/f/below":    {"a/b"},
		"a/b":            {"a"},
		"c/link/b/f":     {"a/b", "c"},
		"abs/f":          {".", "a/b", "c"},
		"loop":           {"."},
		"loop/f":         {"."},
		"c/link/missing": {"a", "c"},
	} {
		var full []string
		for _, w := range want {
			full = append(full, at(w))
		}
		if got := folders(at(path)); strings.Join(got, " ") != strings.Join(full, " ") {
			t.Errorf("%s: got %v, want %v", path, got, full)
		}
	}
	// A link's .. is the parent of its target; filepath.Join would not know.
	if got := folders(top + "/abs/../new"); !slices.Equal(got, []string{top, at("a"), at("c")}) {
		t.Errorf("abs/../new: %v", got)
	}
}
