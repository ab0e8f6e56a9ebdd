package envcache

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Answers to a wanted Python that is not there.
const (
	OnMissingFail    = "fail"
	OnMissingNearest = "nearest"
	OnMissingInstall = "install" // by Cache.Python; a Finder finds only
)

// Finder finds the interpreters of this host. Its methods may be called from
// many goroutines at once.
type Finder struct {
	getenv func(string) string
	probes *prober
	usual  []string // folders that are looked into even if PATH lacks them
	// installs has the interpreters that Cache.Python installed.
	installs string

	mu   sync.Mutex
	last map[question]answer
}

// question and answer remember what was found for a short time, so that the
// next task asks for it without listing folders.
type question struct {
	want, onMissing string
	uid             int
}

type answer struct {
	until time.Time
	id    identity
	py    Interpreter
	note  string
}

const answerAge = 20 * time.Second

// NewFinder makes a finder that keeps what it learned in the state folder dir.
func NewFinder(dir string, opts Options) (*Finder, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("cannot find interpreters: the state folder %q is no absolute path", dir)
	}
	opts = opts.filled()
	probes := newProber(filepath.Join(dir, "tools", "interpreters.json"), gentle{opts.Exec}, CleanEnv(opts.Getenv))
	return &Finder{
		getenv: opts.Getenv, probes: probes, usual: []string{"/usr/local/bin", "/usr/bin"},
		installs: filepath.Join(dir, "pythons"), last: map[question]answer{},
	}, nil
}

// Find finds the interpreter that want names, and that the user uid may run:
// a version ("3", "3.11", "3.11.7"), a program ("python3.11"), a path, or ""
// for the host's own. A path that is not there, as it comes from another
// machine, counts as its program. With OnMissingNearest the nearest version is
// taken for one that is not there. The note, if any, says what was taken
// instead of what.
func (f *Finder) Find(ctx context.Context, want, onMissing string, uid, gid int) (Interpreter, string, error) {
	uid, gid = owner(uid, gid)
	q := question{want, onMissing, uid}
	now := f.probes.now()
	f.mu.Lock()
	a, ok := f.last[q]
	f.mu.Unlock()
	if ok && now.Before(a.until) {
		if id, err := identify(a.py.Path, uid); err == nil && id == a.id {
			return a.py, a.note, nil
		}
	}
	py, note, err := f.find(ctx, want, onMissing, uid, gid)
	if err != nil {
		return Interpreter{}, "", err
	}
	if id, err := identify(py.Path, uid); err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.last) > mostProbed {
			clear(f.last)
		}
		f.last[q] = answer{now.Add(answerAge), id, py, note}
	}
	return py, note, nil
}

func (f *Finder) find(ctx context.Context, want, onMissing string, uid, gid int) (Interpreter, string, error) {
	w, err := parseWanted(want)
	if err != nil {
		return Interpreter{}, "", err
	}
	note := ""
	if w.path != "" {
		py, err := f.probes.probe(ctx, w.path, uid, gid)
		if err == nil {
			return py, "", nil
		}
		note = fmt.Sprintf("%s can't be used here (%v); ", w.path, reason(err))
	}
	s := search{finder: f, uid: uid, gid: gid, all: unique(append(candidates(f.getenv, f.usual), f.installed()...)), barred: map[string][]string{}}
	py, ok, err := s.first(ctx, w.version)
	if err != nil {
		return Interpreter{}, "", err
	}
	if ok {
		if note != "" {
			note += "taking " + py.String()
		}
		return py, note, nil
	}
	if onMissing == OnMissingNearest {
		if py, ok := s.nearest(w.version); ok {
			return py, fmt.Sprintf("Python %s is not on this host: taking the nearest, %s", w, py), nil
		}
	}
	return Interpreter{}, "", s.missing(w, onMissing)
}

// wanted is a parsed wish. version is nil when any will do.
type wanted struct {
	path    string
	version []string
}

func (w wanted) String() string {
	if len(w.version) == 0 {
		return "3"
	}
	return strings.Join(w.version, ".")
}

var wantedShape = regexp.MustCompile(`^(?:python|Python ?|cpython-?)?(\d+(?:\.\d+){0,2})?$`)

func parseWanted(want string) (wanted, error) {
	want = strings.TrimSpace(want)
	if strings.ContainsFunc(want, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(want) > 4096 {
		return wanted{}, fmt.Errorf("cannot find Python %q: it holds control characters or is too long", shorten(want))
	}
	w := wanted{}
	name := want
	if filepath.IsAbs(want) {
		w.path = filepath.Clean(want)
		name = filepath.Base(w.path)
	} else if i := strings.LastIndex(want, "/"); i >= 0 {
		name = want[i+1:] // relative to a folder of another machine
	}
	m := wantedShape.FindStringSubmatch(name)
	switch {
	case m == nil && w.path == "":
		return wanted{}, fmt.Errorf("cannot find Python %q: write a version (3.11), a program (python3.11) or a path", shorten(want))
	case m != nil && m[1] != "":
		w.version = strings.Split(m[1], ".")
	}
	return w, nil
}
