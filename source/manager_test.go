package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentctl/internal/fsx"
	"agentctl/spec"
)

// text is a valid node.yaml that says word.
func text(word string) []byte {
	return []byte("apiVersion: agentctl/v1\nkind: Node\nspec: {workers: []}\n# " + word + "\n")
}

func open(t *testing.T, dir string) *Manager {
	t.Helper()
	m, err := Open(dir, Options{NodeName: "n1", Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	return m
}

// node is what an agent does with its sources, over restarts: it accepts what is
// valid and new.
type node struct {
	t    *testing.T
	dir  string
	m    *Manager
	stop func()

	mu   sync.Mutex
	seq  int64
	last Update // that was not overtaken
}

func newNode(t *testing.T) *node {
	n := &node{t: t, dir: filepath.Join(t.TempDir(), "spec")}
	n.start()
	t.Cleanup(func() { n.stop() })
	return n
}

func (n *node) start() {
	n.t.Helper()
	m := open(n.t, n.dir)
	m.poll = byEvents
	n.m, n.seq, n.last = m, 0, Update{}
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() { _ = m.Run(ctx) })
	both.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case u := <-m.Updates():
				n.take(u)
			}
		}
	})
	n.stop = func() { cancel(); both.Wait() }
}

func (n *node) restart() { n.t.Helper(); n.stop(); n.start() }

// take is what reconcile.Loop does with an update, as far as a source can tell.
func (n *node) take(u Update) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if u.Seq < n.seq {
		return
	}
	n.seq, n.last = u.Seq, u
	if u.Err != nil {
		return
	}
	if _, problems := spec.DecodeFor(u.Source.Path, u.Text, "n1"); problems.Err() != nil {
		return
	}
	if r, good, ok := n.m.LastGood(); ok && bytes.Equal(good, u.Text) && r.Kind == u.Source.Kind && r.Path == u.Source.Path {
		return
	}
	if _, err := n.m.Accept(Accepted{Seq: u.Seq, Text: u.Text, Time: time.Now()}); err != nil && !errors.Is(err, errSuperseded) {
		n.t.Error(err)
	}
}

// want waits until the source has said so, and the last good spec is as wanted.
func (n *node) want(source string, said, good string) {
	n.t.Helper()
	var state string
	for deadline := time.Now().Add(long); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		n.mu.Lock()
		u := n.last
		n.mu.Unlock()
		_, text, _ := n.m.LastGood()
		now := word(u.Text)
		var known *ReadError
		if errors.As(u.Err, &known) {
			now = known.Reason()
		}
		if state = fmt.Sprintf("%s %s, good %s", n.m.Current(), now, word(text)); state == fmt.Sprintf("%s %s, good %s", source, said, good) {
			return
		}
	}
	n.t.Fatalf("got %s, want %s %s, good %s", state, source, said, good)
}

// word is what text says, "" if there is none.
func word(text []byte) string {
	_, w, ok := strings.Cut(string(text), "# ")
	if !ok && len(text) > 0 {
		return "invalid"
	}
	return strings.TrimSpace(w)
}

func (n *node) apply(path string) {
	n.t.Helper()
	u, err := n.m.SetFile(path, nil, false)
	must(n.t, err)
	n.take(u)
}

func (n *node) pin(word string) {
	n.t.Helper()
	u, err := n.m.Pin("-", text(word), false)
	must(n.t, err)
	n.take(u)
}

// File and apply in every order, each followed by a restart: the last word counts,
// a pinned spec is deaf to files, and what is broken or gone changes nothing.
func TestEveryOrder(t *testing.T) {
	type state struct{ source, said, good string }
	type world struct {
		n     *node
		files map[string]string // path → word, "" is gone, "!" is not valid
		state state
		count int
	}
	edit := func(w *world, path, how string) {
		w.files[path] = how
		switch how {
		case "":
			must(w.n.t, os.RemoveAll(path))
		case "!":
			place(w.n.t, path, "kind: [")
		default:
			place(w.n.t, path, string(text(how)))
		}
	}
	look := func(w *world, path string) { // what a followed file does to the state
		if w.state.source != "the file "+path {
			return
		}
		switch how := w.files[path]; how {
		case "":
			w.state.said = "Missing"
		case "!":
			w.state.said = "invalid"
		default:
			w.state.said, w.state.good = how, how
		}
	}
	fresh := func(w *world) string { w.count++; return fmt.Sprintf("w%d", w.count) }
	ops := []struct {
		name string
		do   func(w *world, a, b string)
	}{
		{"apply a", func(w *world, a, _ string) {
			edit(w, a, fresh(w))
			w.n.apply(a)
			w.state = state{"the file " + a, w.files[a], w.files[a]}
		}},
		{"apply b", func(w *world, _, b string) {
			edit(w, b, fresh(w))
			w.n.apply(b)
			w.state = state{"the file " + b, w.files[b], w.files[b]}
		}},
		{"pin", func(w *world, _, _ string) {
			p := fresh(w)
			w.n.pin(p)
			w.state = state{"a pinned spec (-)", p, p}
		}},
		{"edit a", func(w *world, a, _ string) { edit(w, a, fresh(w)); look(w, a) }},
		{"break a", func(w *world, a, _ string) { edit(w, a, "!"); look(w, a) }},
		{"delete a", func(w *world, a, _ string) { edit(w, a, ""); look(w, a) }},
	}
	for i := range ops {
		for j := range ops {
			t.Run(ops[i].name+", "+ops[j].name, func(t *testing.T) {
				t.Parallel()
				for k := range ops {
					dir := t.TempDir()
					w := &world{n: newNode(t), files: map[string]string{}}
					a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
					w.state = state{"no source", "", ""}
					for _, op := range []int{i, j, k} {
						ops[op].do(w, a, b)
						w.n.want(w.state.source, w.state.said, w.state.good)
						w.n.restart()
						w.n.want(w.state.source, w.state.said, w.state.good)
					}
				}
			})
		}
	}
}

// A file that was edited while no agent ran is taken at the start.
func TestEditedMeanwhile(t *testing.T) {
	n := newNode(t)
	path := filepath.Join(t.TempDir(), "node.yaml")
	put(t, path, string(text("one")))
	n.apply(path)
	n.want("the file "+path, "one", "one")
	n.stop()
	put(t, path, string(text("two")))
	n.start()
	n.want("the file "+path, "two", "two")
}

// What was on its way from the old source when a new one was named does nothing.
func TestOldSourceIsSilent(t *testing.T) {
	m := open(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "node.yaml")
	put(t, path, string(text("file")))
	old, err := m.SetFile(path, nil, false)
	must(t, err)
	m.offer(m.began, Update{Source: old.Source, Text: text("file, edited")}) // as its follower would
	late := <-m.Updates()
	m.offer(m.began, Update{Source: old.Source, Text: text("file, edited again")})
	began := m.began
	pin, err := m.Pin("-", text("pin"), false)
	must(t, err)
	m.offer(began, Update{Source: old.Source, Text: text("from a follower that ends")})
	select {
	case u := <-m.Updates():
		t.Errorf("an update of the old source: %s", u.Text)
	default:
	}
	if late.Seq <= old.Seq || pin.Seq <= late.Seq {
		t.Errorf("seq %d, %d, %d", old.Seq, late.Seq, pin.Seq)
	}
	if _, err := m.Accept(Accepted{Seq: late.Seq, Text: late.Text, Time: time.Now()}); !errors.Is(err, errSuperseded) {
		t.Errorf("a text of the old source was accepted: %v", err)
	}
	if number, err := m.Accept(Accepted{Seq: pin.Seq, Text: pin.Text, Time: time.Now()}); err != nil || number != 1 {
		t.Errorf("%d, %v", number, err)
	}
}

// A source that flags gave is only replaced when that is asked for.
func TestTakeOver(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	put(t, a, string(text("a")))
	put(t, b, string(text("b")))
	for name, c := range map[string]struct {
		flags  string
		do     func(m *Manager, takeOver bool) error
		needs  bool
		source string
	}{
		"no source":        {"", func(m *Manager, o bool) error { _, err := m.SetFile(b, nil, o); return err }, false, "the file " + b},
		"the same file":    {a, func(m *Manager, o bool) error { _, err := m.SetFile(a, nil, o); return err }, false, "the file " + a + ", named by the agent's flags"},
		"another file":     {a, func(m *Manager, o bool) error { _, err := m.SetFile(b, nil, o); return err }, true, "the file " + b},
		"the file, pinned": {a, func(m *Manager, o bool) error { _, err := m.Pin(a, text("a"), o); return err }, true, "a pinned spec (" + a + ")"},
		"a pinned text":    {a, func(m *Manager, o bool) error { _, err := m.Pin("-", text("x"), o); return err }, true, "a pinned spec (-)"},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t, t.TempDir())
			if c.flags != "" {
				if taken, err := m.UseFlags(c.flags); err != nil || !taken {
					t.Fatal(taken, err)
				}
			}
			before := m.Current()
			err := c.do(m, false)
			var over *TakeOverError
			if errors.As(err, &over) != c.needs {
				t.Fatalf("got %v", err)
			}
			if c.needs {
				if m.Current() != before || over.Present != before || !strings.Contains(err.Error(), "--take-over") {
					t.Errorf("%v; the source is %s", err, m.Current())
				}
				must(t, c.do(m, true))
			}
			if got := m.Current().String(); got != c.source {
				t.Errorf("the source is %s", got)
			}
			// From now on it is apply's, unless it is the flags' own.
			if taken, err := m.UseFlags(b); taken || err != nil {
				t.Errorf("flags replaced a source: %v, %v", taken, err)
			}
			if again := open(t, m.dir); again.Current().String() != c.source {
				t.Errorf("after a restart the source is %s", again.Current())
			}
		})
	}
}

// What is refused changes nothing.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	put(t, good, string(text("good")))
	put(t, bad, "apiVersion: agentctl/v1\nkind: Node\nspec: {wrkers: []}\n")
	m := open(t, filepath.Join(dir, "spec"))
	_, err := m.SetFile(good, nil, false)
	must(t, err)
	before := tree(t, m.dir)
	for name, c := range map[string]struct {
		do   func() error
		want any
		say  string
	}{
		"a faulty file":     {func() error { _, err := m.SetFile(bad, nil, false); return err }, new(*spec.InvalidError), bad + ":3:8: spec.wrkers"},
		"a faulty text":     {func() error { _, err := m.Pin("-", []byte("kind: x"), false); return err }, new(*spec.InvalidError), "-:1:"},
		"an empty text":     {func() error { _, err := m.Pin("", nil, false); return err }, new(*spec.InvalidError), "workers: []"},
		"no file":           {func() error { _, err := m.SetFile(dir+"/none", nil, false); return err }, new(*ReadError), "not there"},
		"a folder":          {func() error { _, err := m.SetFile(dir, nil, false); return err }, new(*ReadError), "folder"},
		"another text":      {func() error { _, err := m.SetFile(good, text("x"), false); return err }, new(*ChangedError), "--no-watch"},
		"a relative path":   {func() error { _, err := m.SetFile("good.yaml", nil, false); return err }, nil, "not absolute"},
		"flags, relative":   {func() error { _, err := m.UseFlags("good.yaml"); return err }, nil, "not absolute"},
		"not to be found":   {func() error { _, err := m.Text(17); return err }, nil, "no such file"},
		"no such to finish": {func() error { return m.Finish(17, "converged", time.Now()) }, nil, "no such file"},
	} {
		err := c.do()
		if err == nil || !strings.Contains(err.Error(), c.say) || c.want != nil && !errors.As(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if diff := cmp.Diff(before, tree(t, m.dir)); diff != "" {
		t.Errorf("the folder changed:\n%s", diff)
	}
}

// tree maps the files of a folder to their contents and modes.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil || d.IsDir() {
			out[path] = fi.Mode().String()
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = fi.Mode().String() + " " + string(data)
		return err
	}))
	return out
}

func TestReload(t *testing.T) {
	m := open(t, t.TempDir())
	if _, err := m.Reload(); !errors.Is(err, ErrNotFollowed) {
		t.Errorf("no source: %v", err)
	}
	path := filepath.Join(t.TempDir(), "node.yaml")
	put(t, path, string(text("one")))
	first, err := m.SetFile(path, nil, false)
	must(t, err)
	put(t, path, string(text("two")))
	u, err := m.Reload()
	if err != nil || u.Err != nil || word(u.Text) != "two" || u.Seq <= first.Seq {
		t.Errorf("%+v, %v", u, err)
	}
	must(t, os.Remove(path))
	if u, err = m.Reload(); err != nil || u.Err == nil {
		t.Errorf("%+v, %v", u, err)
	}
	_, err = m.Pin("-", text("pin"), false)
	must(t, err)
	if _, err := m.Reload(); !errors.Is(err, ErrNotFollowed) {
		t.Errorf("pinned: %v", err)
	}
}

// Records of another version, and damaged ones, are not guessed at.
func TestDamagedRecords(t *testing.T) {
	for name, c := range map[string]struct {
		file, content, say string
	}{
		"newer source":   {"source.json", `{"version": 3, "kind": "git", "path": "x"}`, "newer agentctl"},
		"no source":      {"source.json", `{}`, "apply"},
		"half a source":  {"source.json", `{"version": 1, "ki`, "source.json"},
		"unknown kind":   {"source.json", `{"version": 1, "kind": "git", "path": "x"}`, "apply"},
		"digest as path": {"source.json", `{"version": 1, "kind": "pinned", "path": "-", "digest": "../../x"}`, "apply"},
		"pinned gone":    {"source.json", `{"version": 1, "kind": "pinned", "path": "-", "digest": "` + digest(nil) + `"}`, "no such file"},
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, c.file), c.content)
		if _, err := Open(dir, Options{Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestPinnedTextIsChecked(t *testing.T) {
	m := open(t, t.TempDir())
	u, err := m.Pin("-", text("pin"), false)
	must(t, err)
	put(t, m.pinnedFile(u.Source.Digest), "something else")
	if _, err := Open(m.dir, m.opts); err == nil || !strings.Contains(err.Error(), "not what was stored") {
		t.Errorf("got %v", err)
	}
}

// The last good spec is the newest that is whole.
func TestLastGood(t *testing.T) {
	for name, damage := range map[string]func(m *Manager) error{
		"text changed":     func(m *Manager) error { return os.WriteFile(m.revisionFile(3, ".yaml"), []byte("x"), 0o600) },
		"text gone":        func(m *Manager) error { return os.Remove(m.revisionFile(3, ".yaml")) },
		"record emptied":   func(m *Manager) error { return os.Truncate(m.revisionFile(3, ".json"), 0) },
		"record of others": func(m *Manager) error { return os.Rename(m.revisionFile(1, ".json"), m.revisionFile(3, ".json")) },
		"record is newer": func(m *Manager) error {
			return fsx.WriteJSON(m.revisionFile(3, ".json"), Revision{Version: 9, Number: 3}, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := accepted(t, t.TempDir(), Options{}, "one", "two", "three")
			must(t, damage(m))
			var log bytes.Buffer
			m, err := Open(m.dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			must(t, err)
			r, good, ok := m.LastGood()
			if !ok || r.Number != 2 || word(good) != "two" {
				t.Errorf("%+v %s", r, good)
			}
			if !strings.Contains(log.String(), "revision=3") {
				t.Errorf("nothing is said of it: %s", log.String())
			}
			if n, err := m.Accept(Accepted{Seq: 1, Text: text("four"), Time: time.Now()}); err != nil || n != 4 {
				t.Errorf("a number was given twice: %d, %v", n, err)
			}
		})
	}
}

// accepted opens a folder with a pinned source and accepts texts.
func accepted(t *testing.T, dir string, opts Options, words ...string) *Manager {
	t.Helper()
	opts.Log = slog.New(slog.DiscardHandler)
	m, err := Open(dir, opts)
	must(t, err)
	u, err := m.Pin("-", text("pin"), false)
	must(t, err)
	for i, w := range words {
		_, err := m.Accept(Accepted{Seq: u.Seq, Text: text(w), Time: time.Unix(int64(i), 0)})
		must(t, err)
	}
	return m
}

func TestHistoryIsBounded(t *testing.T) {
	var words []string
	for i := range 12 {
		words = append(words, fmt.Sprintf("w%d", i+1))
	}
	m := accepted(t, t.TempDir(), Options{Keep: 5}, words...)
	for range 2 {
		history, err := m.History()
		must(t, err)
		var got []int64
		for _, r := range history {
			text, err := m.Text(r.Number)
			must(t, err)
			if word(text) != fmt.Sprintf("w%d", r.Number) || r.Digest != digest(text) || r.Kind != KindPinned || r.Path != "-" || r.Time.Unix() != r.Number-1 {
				t.Errorf("%+v: %s", r, text)
			}
			got = append(got, r.Number)
		}
		if diff := cmp.Diff([]int64{12, 11, 10, 9, 8}, got); diff != "" {
			t.Errorf("history:\n%s", diff)
		}
		if files, _ := os.ReadDir(m.revisions()); len(files) != 10 {
			t.Errorf("%d files", len(files))
		}
		m, err = Open(m.dir, m.opts)
		must(t, err)
	}
	if _, err := m.Text(7); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestFinish(t *testing.T) {
	m := accepted(t, t.TempDir(), Options{}, "one", "two")
	at := time.Unix(100, 0)
	must(t, m.Finish(1, "superseded", at), m.Finish(2, "converged", at), m.Finish(2, "superseded", at.Add(time.Hour)))
	again, err := Open(m.dir, m.opts)
	must(t, err)
	for _, m := range []*Manager{m, again} {
		history, err := m.History()
		must(t, err)
		if history[0].Result != "converged" || !history[0].Finished.Equal(at) || history[1].Result != "superseded" {
			t.Errorf("%+v", history)
		}
		if r, good, ok := m.LastGood(); !ok || r.Result != "converged" || word(good) != "two" {
			t.Errorf("%+v %s", r, good)
		}
	}
}

// Nobody but the agent's user reads what the node is to be.
func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spec")
	accepted(t, dir, Options{}, "one")
	for path, what := range tree(t, dir) {
		mode, _, _ := strings.Cut(what, " ")
		if mode != "-rw-------" && mode != "drwx------" {
			t.Errorf("%s is %s", path, mode)
		}
	}
}

// What a crash left is removed, and nothing else.
func TestSweep(t *testing.T) {
	m := accepted(t, t.TempDir(), Options{}, "one")
	put(t, filepath.Join(m.dir, "somebodys.yaml"), "x")
	before := tree(t, m.dir)
	for _, left := range []string{".source.json.tmp-123", "pinned-" + digest(nil) + ".yaml", "revisions/.0002.yaml.tmp-9", "revisions/0002.yaml"} {
		put(t, filepath.Join(m.dir, left), "x")
	}
	open(t, m.dir)
	if diff := cmp.Diff(before, tree(t, m.dir)); diff != "" {
		t.Errorf("after the sweep:\n%s", diff)
	}
}

// All methods may be called at once.
func TestAtOnce(t *testing.T) {
	n := newNode(t)
	path := filepath.Join(t.TempDir(), "node.yaml")
	put(t, path, string(text("file")))
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 10 {
				u, err := n.m.Pin("-", text(fmt.Sprint("pin ", i, j)), false)
				if err == nil {
					n.take(u)
				}
				if u, err = n.m.SetFile(path, nil, true); err == nil {
					n.take(u)
				}
				_, _, _ = n.m.LastGood()
				_, _ = n.m.History()
				_, _ = n.m.Reload()
				_ = n.m.Finish(int64(j), "converged", time.Now())
			}
		})
	}
	all.Wait()
	n.pin("last")
	n.want("a pinned spec (-)", "last", "last")
	n.restart()
	n.want("a pinned spec (-)", "last", "last")
}

// A store that lost its source still says so, and keeps its last good spec.
func TestLostSource(t *testing.T) {
	n := newNode(t)
	n.pin("one")
	n.want("a pinned spec (-)", "one", "one")
	n.stop()
	must(t, os.Remove(n.m.sourceFile()))
	n.start()
	n.want("no source", "NoSource", "one")
}
