package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Answers to a wanted Python that is not there.
const (
	OnMissingFail    = "fail"
	OnMissingNearest = "nearest"
)

// Finder finds the interpreters of this host. Its methods may be called from
// many goroutines at once.
type Finder struct {
	getenv func(string) string
	probes *prober
	usual  []string // folders that are looked into even if PATH lacks them

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
	probes := newProber(filepath.Join(dir, "tools", "interpreters.json"), opts.Exec, CleanEnv(opts.Getenv))
	return &Finder{getenv: opts.Getenv, probes: probes, usual: []string{"/usr/local/bin", "/usr/bin"}, last: map[question]answer{}}, nil
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
	s := search{finder: f, uid: uid, gid: gid, all: candidates(f.getenv, f.usual), barred: map[string][]string{}}
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
	return Interpreter{}, "", s.missing(w)
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

// search is one look at all candidates.
type search struct {
	finder   *Finder
	uid, gid int
	all      []candidate
	found    []Interpreter
	barred   map[string][]string // reasons, and the candidates that don't run for them
}

// first gives the first usable interpreter of a version. Those whose names
// promise the version are asked first, the rest only if need be.
func (s *search) first(ctx context.Context, version []string) (Interpreter, bool, error) {
	promising := func(c candidate) bool { return len(version) > 1 && len(c.hint) > 1 && agree(c.hint, version) }
	var rest []candidate
	for _, pass := range []bool{true, false} {
		for _, c := range s.all {
			if promising(c) != pass {
				continue
			}
			if !pass && len(version) > 1 && len(c.hint) > 1 && !agree(c.hint, version) {
				rest = append(rest, c) // surely another version
				continue
			}
			if py, ok := s.look(ctx, c); ok && matches(py, version) {
				return py, true, nil
			}
			if err := context.Cause(ctx); err != nil {
				return Interpreter{}, false, err
			}
		}
	}
	for _, c := range rest {
		s.look(ctx, c)
	}
	return Interpreter{}, false, context.Cause(ctx)
}

func (s *search) look(ctx context.Context, c candidate) (Interpreter, bool) {
	py, err := s.finder.probes.probe(ctx, c.path, s.uid, s.gid)
	if err != nil {
		why := reason(err).Error()
		s.barred[why] = append(s.barred[why], c.path)
		return py, false
	}
	if py.Numbers()[0] != 3 {
		return py, false
	}
	s.found = append(s.found, py)
	return py, true
}

func reason(err error) error {
	for _, known := range []error{fs.ErrPermission, fs.ErrNotExist} {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}

// agree tells whether two versions are the same as far as both are given.
func agree(a, b []string) bool {
	n := min(len(a), len(b))
	return slices.Equal(a[:n], b[:n])
}

func matches(py Interpreter, version []string) bool {
	have := strings.SplitN(py.Version, ".", 3)
	if len(version) == 0 {
		return have[0] == "3"
	}
	return len(have) >= len(version) && slices.Equal(have[:len(version)], version)
}

// nearest gives the interpreter whose version is the least far from version,
// the newer one of two that are equally far.
func (s *search) nearest(version []string) (Interpreter, bool) {
	var want [3]int
	copy(want[:], toNumbers(version))
	var best Interpreter
	for _, py := range s.found {
		n, b := py.Numbers(), best.Numbers()
		d := [2]int{abs(n[1] - want[1]), -n[1]}
		e := [2]int{abs(b[1] - want[1]), -b[1]}
		if n[0] == want[0] && (best.Path == "" || slices.Compare(d[:], e[:]) < 0) {
			best = py
		}
	}
	return best, best.Path != ""
}

func toNumbers(version []string) []int {
	n := numbers(strings.Join(version, "."))
	return n[:]
}

// missing says what was looked for, what is there and what to write.
func (s *search) missing(w wanted) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Python %s is not on this host", w)
	if switches(s.uid) {
		fmt.Fprintf(&b, " for the user with id %d", s.uid)
	}
	if len(s.found) > 0 {
		b.WriteString("; found: " + list(s.found, Interpreter.String))
	} else {
		b.WriteString("; no Python 3 was found")
	}
	for _, why := range slices.Sorted(maps.Keys(s.barred)) {
		fmt.Fprintf(&b, "; not usable (%s): %s", why, list(s.barred[why], func(s string) string { return s }))
	}
	b.WriteString("; install it, let the task ask for one that is there, or write packageManager.python.onMissing: nearest")
	return errors.New(b.String())
}

func list[T any](all []T, text func(T) string) string {
	var words []string
	for i, v := range all {
		if i == 12 {
			words = append(words, fmt.Sprintf("%d more", len(all)-i))
			break
		}
		words = append(words, text(v))
	}
	return strings.Join(words, ", ")
}
