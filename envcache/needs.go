package envcache

import (
	"fmt"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// needs is what a host must be for an environment that was built on another.
type needs struct {
	// Brings tells that the interpreter is one of the packages.
	Brings         bool   `json:"brings,omitempty"`
	Implementation string `json:"implementation"`
	Version        string `json:"version"`
	ABI            string `json:"abi"`
	Platform       string `json:"platform"`
	Libc           string `json:"libc"`
	Interpreter    string `json:"interpreter,omitempty"` // of the host that built it
	Build          string `json:"build,omitempty"`
}

// needsOf describes an interpreter as what another host needs.
func needsOf(py Interpreter, brings bool) needs {
	return needs{brings, py.Implementation, py.Version, py.ABI, py.Platform, py.Libc, py.Path, py.Build}
}

// builtWith reads the interpreter of an environment out of its parts; ok is
// false for one that brings its own.
func builtWith(parts []Part) (py Interpreter, ok bool) {
	py.Path = valueOf(parts, "interpreter")
	py.Implementation, py.Version, _ = strings.Cut(valueOf(parts, "python version"), " ")
	py.Platform, py.Libc, _ = strings.Cut(valueOf(parts, "platform"), " ")
	py.ABI, py.Build = valueOf(parts, "python ABI"), valueOf(parts, "interpreter build")
	return py, py.Path != ""
}

func valueOf(parts []Part, name string) string {
	p, _ := lo.Find(parts, func(p Part) bool { return p.Name == name })
	return p.Value
}

// minor is a version without its last number, which changes no interface.
func minor(version string) string {
	n := numbers(version)
	return fmt.Sprintf("%d.%d", n[0], n[1])
}

// unmet names all that an interpreter, or the host it was asked on, lacks.
func (n needs) unmet(py Interpreter) []string {
	var lacks []string
	differ := func(what, want, have string) {
		if want != have {
			lacks = append(lacks, fmt.Sprintf("%s %s, here %s", what, orNone(want), orNone(have)))
		}
	}
	differ("the implementation", n.Implementation, py.Implementation)
	differ("Python", minor(n.Version), minor(py.Version))
	differ("the ABI", n.ABI, py.ABI)
	differ("the platform", n.Platform, py.Platform)
	if !newEnough(n.Libc, py.Libc) {
		lacks = append(lacks, fmt.Sprintf("%s or newer, here %s", orNone(n.Libc), orNone(py.Libc)))
	}
	return lacks
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return shorten(s)
}

// newEnough tells whether programs that were linked to one C library run with
// another: that of the same name in the same or a later version.
func newEnough(linked, here string) bool {
	a, from, _ := strings.Cut(linked, " ")
	b, to, _ := strings.Cut(here, " ")
	old, now := numbers(from), numbers(to)
	return a == b && slices.Compare(now[:], old[:]) >= 0
}
