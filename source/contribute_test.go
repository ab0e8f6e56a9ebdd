package source

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/samber/lo"

	"agentctl/spec"
)

// wanted asks for one worker.
func wanted(id, name string) Wanted {
	return Wanted{
		Abandoned: func(c Contribution) bool { return c.Owner.Boot == "gone" },
		Contribution: Contribution{
			ID: id, By: "me", Since: time.Now(), Command: "daemon --queue " + name,
			Workers: []spec.WorkerSpec{{Name: name, ID: id, Queues: []string{name}}},
		},
	}
}

// loop does with updates what the agent and its loop do.
type loop struct {
	*testing.T
	m *Manager
}

// handed accepts what is in force after an update, and tells which groups that are.
func (l loop) handed(u Update) string {
	l.Helper()
	accept := func(kind string, text Layered) {
		n, _ := spec.DecodeFor("node.yaml", text.Text, spec.Host{Name: "n1"})
		_, now, _ := l.m.LastGood()
		if n == nil || string(now) == string(text.Text) {
			return
		}
		if _, err := l.m.Accept(Accepted{Seq: u.Seq, Text: text.Text, Own: text.Own, Time: time.Now()}); err != nil {
			l.Errorf("%s: %v", kind, err)
		}
	}
	if s := u.Source.Suspended; s != nil {
		_, text, err := l.m.InForce(s)
		must(l.T, err)
		accept("held", text)
	} else {
		if _, text, changed := l.m.Again(); changed {
			accept("again", text)
		}
		if u.Err == nil {
			text, err := l.m.Over(u.Source.Path, u.Text, false)
			if err == nil {
				accept("source", text)
			}
		}
	}
	return l.groups()
}

func (l loop) groups() string {
	r, text, _ := l.m.LastGood()
	n, problems := spec.DecodeFor(r.Path, text, spec.Host{Name: "n1"})
	must(l.T, problems.Err())
	return strings.Join(lo.Map(n.Spec.Workers, func(g spec.WorkerSpec, _ int) string { return g.Name + "=" + g.ID }), " ")
}

func (l loop) contribute(w Wanted) string {
	l.Helper()
	_, u, err := l.m.Contribute(w)
	must(l.T, err)
	return l.handed(u)
}

func (l loop) withdraw(id string) string {
	l.Helper()
	u, found, err := l.m.Withdraw(id, "me")
	if must(l.T, err); !found {
		l.Fatalf("there is no %s", id)
	}
	return l.handed(u)
}

func groups(names ...string) string {
	return "apiVersion: agentctl/v1\nkind: Node\nspec:\n  workers: [" + strings.Join(lo.Map(names, func(n string, _ int) string { return "{name: " + n + ", queues: [q]}" }), ", ") + "]\n"
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// atFile is a loop whose source is the file that is returned.
func atFile(t *testing.T, names ...string) (loop, string) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.yaml")
	put(t, path, groups(names...))
	l := loop{t, open(t, filepath.Join(dir, "spec"))}
	u, err := l.m.SetFile(path, nil, false)
	must(t, err)
	l.handed(u)
	return l, path
}

// Contributed workers are part of what is accepted, with their own word in the
// history, until they are taken back; a restart keeps them.
func TestContribute(t *testing.T) {
	l, path := atFile(t, "a")
	same(t, "one", l.contribute(wanted("box:0", "b")), "a= b=box:0")
	same(t, "two", l.contribute(wanted("box:1", "b")), "a= b=box:0 b-2=box:1")
	r, text, _ := l.m.LastGood()
	same(t, "word", r.Cause+" "+r.By+" "+r.Message, "contribute me daemon --queue b")
	origins, problems := spec.Origins(path, text, spec.Host{Name: "n1"})
	must(t, problems.Err())
	if file := origins["spec.workers[b-2].id"].File; !strings.HasPrefix(file, "daemon box:1, by me, ") {
		t.Errorf("blame: %s", file)
	}
	put(t, path, groups("a", "c"))
	u, err := l.m.Reload(t.Context(), false)
	must(t, err)
	same(t, "edited", l.handed(u), "a= c= b=box:0 b-2=box:1")

	l.m = open(t, l.m.dir)
	if _, _, changed := l.m.Again(); changed || len(l.m.Contributions()) != 2 {
		t.Error("a restart changes what was contributed")
	}
	same(t, "taken back", l.withdraw("box:0"), "a= c= b-2=box:1")
	same(t, "the last", l.withdraw("box:1"), "a= c=")
	if _, found, err := l.m.Withdraw("box:1", "me"); found || err != nil {
		t.Errorf("withdrawn twice: %v, %v", found, err)
	}
	if r, _, _ := l.m.LastGood(); r.Own != 0 || r.OwnDigest != "" {
		t.Errorf("something is left over the source's text: %+v", r)
	}
}

// The same id again is refused, but for one that was left alone; with a slot the next
// free number is taken.
func TestContributeIDs(t *testing.T) {
	l, _ := atFile(t)
	lonely := wanted("box:gpu0", "b")
	lonely.Owner.Boot = "gone"
	l.contribute(lonely)
	again := wanted("box:gpu0", "c")
	same(t, "in the place of one that was left", l.contribute(again), "c=box:gpu0")
	var refused *ContributionError
	if _, _, err := l.m.Contribute(again); !errors.As(err, &refused) || !strings.Contains(err.Error(), "daemon --stop box:gpu0") {
		t.Errorf("twice: %v", err)
	}
	slotted := wanted("box", "d")
	slotted.Slot = true
	l.contribute(slotted)
	same(t, "slots", l.contribute(slotted), "c=box:gpu0 d=box:0 d-2=box:1")
	l.withdraw("box:0")
	same(t, "the free one", l.contribute(slotted), "c=box:gpu0 d=box:0 d-2=box:1")
	several := wanted("box:dgpu1-2", "e")
	several.Workers[0].ID = "box:gpu1"
	several.Workers = append(several.Workers, spec.WorkerSpec{Name: "f", ID: "box:gpu2", Queues: []string{"q2"}})
	same(t, "several groups with ids of their own", l.contribute(several), "c=box:gpu0 d=box:0 d-2=box:1 e=box:gpu1 f=box:gpu2")
	bad := wanted("box:x", "g")
	bad.Workers[0].Image = "NOT AN IMAGE"
	if _, _, err := l.m.Contribute(bad); err == nil {
		t.Error("an invalid one was taken")
	}
}

// What is in force of several that come at once is told for each alone: one that is
// recorded meanwhile, or goes, is not the fault of the others.
func TestContributeAtOnce(t *testing.T) {
	l, _ := atFile(t, "a")
	first, u, err := l.m.Contribute(wanted("box:0", "b"))
	must(t, err)
	if l.m.Has(first) {
		t.Error("the first is in force before it was accepted")
	}
	l.handed(u)
	second, u, err := l.m.Contribute(wanted("box:1", "c"))
	must(t, err)
	if !l.m.Has(first) || l.m.Has(second) {
		t.Errorf("before the second was accepted: %v, %v", l.m.Has(first), l.m.Has(second))
	}
	l.handed(u)
	if !l.m.Has(first) || !l.m.Has(second) {
		t.Errorf("both were accepted: %v, %v", l.m.Has(first), l.m.Has(second))
	}
	l.withdraw("box:0")
	if l.m.Has(first) || !l.m.Has(second) {
		t.Errorf("the first was taken back: %v, %v", l.m.Has(first), l.m.Has(second))
	}
}

// A source that can't be read, or is not valid, keeps nobody from adding or taking
// away workers; one that has the name of a contributed group is refused.
func TestContributeOverBrokenSource(t *testing.T) {
	l, path := atFile(t, "a")
	put(t, path, "kind: [")
	same(t, "not valid", l.contribute(wanted("box:0", "b")), "a= b=box:0")
	must(t, os.Remove(path))
	same(t, "gone", l.withdraw("box:0"), "a=")
	same(t, "gone", l.contribute(wanted("box:0", "b")), "a= b=box:0")
	put(t, path, groups("a", "b"))
	u, err := l.m.Reload(t.Context(), false)
	must(t, err)
	same(t, "the same name", l.handed(u), "a= b=box:0")
	_, err = l.m.Over(path, u.Text, false)
	var known interface{ Reason() string }
	if !errors.As(err, &known) || known.Reason() != "Contributed" || !strings.Contains(err.Error(), "node.yaml:4:") || !strings.Contains(err.Error(), "daemon --stop box:0") {
		t.Errorf("%v", err)
	}
	if _, err := l.m.SetFile(path, nil, false); err == nil {
		t.Error("it was applied")
	}
}

// While the source is not followed, workers come and go over what is in force, and a
// rollback is to another text of the source.
func TestContributeSuspended(t *testing.T) {
	l, path := atFile(t, "a")
	put(t, path, groups("c"))
	u, err := l.m.Reload(t.Context(), false)
	must(t, err)
	l.handed(u)
	l.contribute(wanted("box:0", "b"))
	l.contribute(wanted("box:1", "b"))
	u, err = l.m.Rollback(0, Order{By: "me"})
	must(t, err)
	same(t, "back", l.handed(u), "a= b=box:0 b-2=box:1")
	same(t, "taken back", l.withdraw("box:0"), "a= b-2=box:1")
	if r, _, _ := l.m.LastGood(); r.Cause != CauseContribute {
		t.Errorf("cause %s", r.Cause)
	}
	l.m = open(t, l.m.dir)
	same(t, "after a restart", l.contribute(wanted("box:2", "d")), "a= b-2=box:1 d=box:2")
	u, err = l.m.Suspend("me", "why")
	must(t, err)
	same(t, "suspended", l.handed(u), "a= b-2=box:1 d=box:2")
	u, err = l.m.Resume()
	must(t, err)
	u.Text, err = ReadFile(path)
	must(t, err)
	same(t, "resumed", l.handed(u), "c= b-2=box:1 d=box:2")
}

// A repository says all that runs: nothing is added to it, and it takes the place of
// contributed workers only on an operator's word.
func TestContributeAndGit(t *testing.T) {
	l, _ := atFile(t, "a")
	l.contribute(wanted("box:0", "b"))
	repo := filepath.Join(t.TempDir(), "repo.git")
	newGitRepo(t, repo).commit("new", "node.yaml", groups("b"))
	g := Git{URL: repo, Path: "node.yaml"}
	_, err := l.m.SetGit(t.Context(), g, "", false)
	var over *TakeOverError
	if !errors.As(err, &over) || !strings.Contains(err.Error(), "daemon box:0, by me,") {
		t.Fatalf("%v", err)
	}
	same(t, "refused", l.groups(), "a= b=box:0")
	u, err := l.m.SetGit(t.Context(), g, "", true)
	must(t, err)
	same(t, "taken over", l.handed(u), "b=")
	var refused *ContributionError
	if _, _, err := l.m.Contribute(wanted("box:0", "c")); !errors.As(err, &refused) || !strings.Contains(err.Error(), "repo.git") {
		t.Errorf("%v", err)
	}
	l.m = open(t, l.m.dir)
	if len(l.m.Contributions()) > 0 {
		t.Error("they come back")
	}
}

// Layers of the options are under all that is contributed, and another one counts at
// the next start, over the same text of the source.
func TestOptionLayers(t *testing.T) {
	dir := t.TempDir()
	with := func(url string) loop {
		opts := Options{Host: spec.Host{Name: "n1"}, Log: slog.New(slog.DiscardHandler)}
		if url != "" {
			opts.Layers = []Layer{{Name: "the environment", Text: []byte("apiVersion: agentctl/v1\nkind: NodePatch\nmetadata: {name: environment}\nspec: {server: {url: " + url + "}}\n")}}
		}
		m, err := Open(dir, opts)
		must(t, err)
		return loop{t, m}
	}
	url := func(l loop) string {
		_, text, _ := l.m.LastGood()
		n, problems := spec.DecodeFor("-", text, spec.Host{Name: "n1"})
		must(t, problems.Err())
		return n.Spec.Server.URL
	}
	l := with("https://one.example.com")
	u, err := l.m.Pin("-", []byte(groups("a")), false)
	must(t, err)
	l.handed(u)
	same(t, "laid over", url(l), "https://one.example.com")
	same(t, "with a worker", l.contribute(wanted("box:0", "b")), "a= b=box:0")
	l = with("https://two.example.com")
	l.handed(u)
	same(t, "another", url(l)+" "+l.groups(), "https://two.example.com a= b=box:0")
	l = with("")
	l.handed(u)
	same(t, "none", url(l)+l.groups(), "a= b=box:0")
	history, err := l.m.History()
	must(t, err)
	if diff := cmp.Diff(1, len(lo.UniqBy(history, func(r Revision) string { return r.own() }))); diff != "" {
		t.Errorf("the source's text was changed: %s", diff)
	}
}
