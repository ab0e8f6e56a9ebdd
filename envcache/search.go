package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

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

// missingPython tells that no interpreter of a version is on the host.
type missingPython struct {
	wanted wanted
	text   string
}

func (m *missingPython) Error() string { return m.text }

// missing says what was looked for, what is there and what to write.
func (s *search) missing(w wanted, onMissing string) error {
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
	if onMissing != OnMissingInstall {
		b.WriteString("; install it, let the task ask for one that is there, or write packageManager.python.onMissing: nearest or install")
	}
	return &missingPython{w, b.String()}
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
