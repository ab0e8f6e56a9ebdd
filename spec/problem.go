package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/samber/lo"
)

// Severity tells an error, which refuses a document, from a warning.
type Severity string

// Severities of a Problem.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Problem is one fault of a document: where, what and what to write instead.
// Line and Column count from 1, in characters; both are 0 where there is no text.
type Problem struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Path     string   `json:"path,omitempty"` // as spec.workers[0].gpus
	Severity Severity `json:"severity"`
	Fault    string   `json:"fault"`
	Fix      string   `json:"fix,omitempty"`
}

// Problems are all faults of a document, errors first, each by position.
type Problems []Problem

// String renders p as "file:line:column: path: fault; fix", a warning with
// "warning: " before the path.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if p.Severity == SeverityWarning {
		b.WriteString("warning: ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Fault)
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	return b.String()
}

// String renders the problems, one a line, without a last line break.
func (p Problems) String() string {
	return strings.Join(lo.Map(p, func(q Problem, _ int) string { return q.String() }), "\n")
}

// Errors are the problems that refuse the document.
func (p Problems) Errors() Problems { return p.of(SeverityError) }

// Warnings are the problems that don't.
func (p Problems) Warnings() Problems { return p.of(SeverityWarning) }

func (p Problems) of(s Severity) Problems {
	return lo.Filter(p, func(q Problem, _ int) bool { return q.Severity == s })
}

// Err is nil when there are only warnings, else an *InvalidError with the errors.
func (p Problems) Err() error {
	errs := p.Errors()
	if len(errs) == 0 {
		return nil
	}
	return &InvalidError{Problems: errs}
}

// InvalidError refuses a document.
type InvalidError struct{ Problems Problems }

func (e *InvalidError) Error() string { return e.Problems.String() }

// sorted orders the problems and drops what is said twice about one place, as
// happens to a fault inside an anchor that is used twice.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
	if len(p) > 0 && p[0].Line == 0 {
		return p // no text, so nothing has a place
	}
	return lo.UniqBy(p, func(q Problem) Problem { q.Path = ""; return q })
}

// shown is the longest text of a document that a message repeats.
const shown = 60

// quote renders text of a document for a message: printable, quoted, short. A URL
// with a password may stand where nobody looks for one, and is never repeated.
func quote(s string) string {
	if urlLogin.MatchString(s) {
		return "a text with a password in a URL"
	}
	r := []rune(s)
	if len(r) > shown {
		return strconv.Quote(string(r[:shown])) + "…"
	}
	return strconv.Quote(s)
}

// keyPath is the path of a key below path: plain where the key is, else quoted.
func keyPath(path, key string) string {
	plain := key != "" && len(key) <= shown && !strings.ContainsFunc(key, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
	})
	switch {
	case !plain:
		return path + "[" + quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// indexPath is the path of an element of the list at path.
func indexPath(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// oneOf renders alternatives as "a, b or c".
func oneOf(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " or " + list[last]
}
