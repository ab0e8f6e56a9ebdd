package server

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"modernc.org/sqlite"
)

// filter collects the conditions of a get_all.
type filter struct {
	where []string
	args  []any
}

func (f *filter) add(condition string, a ...any) {
	f.where = append(f.where, condition)
	f.args = append(f.args, a...)
}

func (f *filter) text() string {
	if len(f.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(f.where, " AND ")
}

// exact is in for ids, in which a "-" is a letter like others.
func (f *filter) exact(column string, values []string) {
	f.add(column+` IN (SELECT value FROM json_each(?))`, jsonList(values))
}

// regex keeps rows whose column matches, as the protocol reads names.
func (f *filter) regex(column, pattern string) error {
	if pattern == "" {
		return nil
	}
	if _, err := compile(pattern); err != nil {
		return refuse(400, 21, "Malformed regular expression: %.200s", pattern)
	}
	f.add(column+` REGEXP ?`, pattern)
	return nil
}

// maxTerms bounds what one request adds to a statement term by term: SQLite
// refuses what is deeper than 1000.
const maxTerms = 200

// anyAll is the protocol's _any_ and _all_: a pattern in some or all of the fields.
type anyAll struct {
	Pattern string `json:"pattern"`
	Fields  texts  `json:"fields"`
}

// expr is what a field is in a statement, with the values of its placeholders;
// without a text there is no such field.
type expr struct {
	text string
	args []any
}

// plain turns a function that gives columns into one that gives expressions.
func plain(column func(string) string) func(string) expr {
	return func(name string) expr { return expr{text: column(name)} }
}

// match adds an anyAll. It ignores case, unlike the pattern of a name.
func (f *filter) match(m *anyAll, all bool, field func(string) expr) error {
	if m == nil || m.Pattern == "" {
		return nil
	}
	pattern := "(?i)" + m.Pattern
	if _, err := compile(pattern); err != nil {
		return refuse(400, 21, "Malformed regular expression: %.200s", m.Pattern)
	}
	if len(m.Fields) > maxTerms {
		return invalid("fields", "more than %d", maxTerms)
	}
	var parts []string
	for _, name := range m.Fields {
		e := field(name)
		if e.text == "" {
			return refuse(400, 14, "Invalid fields: fields=%.200s", name)
		}
		parts = append(parts, e.text+` REGEXP ?`)
		f.args = append(append(f.args, e.args...), pattern)
	}
	if len(parts) > 0 {
		f.where = append(f.where, "("+strings.Join(parts, map[bool]string{true: " AND ", false: " OR "}[all])+")")
	}
	return nil
}

// order turns order_by into an ORDER BY. Rows that are equal keep the order of
// their creation, so that pages never overlap.
func order(by []string, field func(string) expr, fallback string) (string, []any, error) {
	if len(by) > maxTerms {
		return "", nil, invalid("order_by", "more than %d", maxTerms)
	}
	var parts []string
	var a []any
	for _, name := range by {
		name, desc := strings.CutPrefix(name, "-")
		e := field(name)
		if e.text == "" {
			return "", nil, refuse(400, 14, "Invalid fields: order_by=%.200s", name)
		}
		parts = append(parts, e.text+map[bool]string{true: " DESC", false: " ASC"}[desc])
		a = append(a, e.args...)
	}
	return " ORDER BY " + strings.Join(append(parts, fallback), ", "), a, nil
}

// paging says which part of a get_all's rows is wanted.
type paging struct {
	Page     *int `json:"page"`
	PageSize int  `json:"page_size"`
}

const (
	defaultPage = 500
	maxRows     = 10_000 // of one answer
)

func (p paging) limit() (text string, a []any, err error) {
	if p.Page == nil && p.PageSize == 0 {
		return " LIMIT ?", args(maxRows), nil
	}
	page := 0
	if p.Page != nil {
		page = *p.Page
	}
	if page < 0 || page > 1<<30 || p.PageSize < 0 {
		return "", nil, invalid("page", "must not be negative")
	}
	size := min(p.PageSize, maxRows)
	if size == 0 {
		size = defaultPage
	}
	return " LIMIT ? OFFSET ?", args(size, page*size), nil
}

// patterns holds compiled regular expressions: a scan uses one for each row.
var patterns struct {
	sync.Mutex
	known map[string]*regexp.Regexp
	size  int // of their programs together
}

// Bounds of a pattern and of what it compiles to: x{1000} a thousand times is a
// million steps, which take a hundred megabytes, and a time for each letter of each
// row. The longest pattern fits where it is plain letters.
const (
	maxPattern  = 10_000
	maxProgram  = 2 * maxPattern
	maxPatterns = 10 * maxProgram // of all that are kept
)

// compile reads a regular expression of Python's kind as far as RE2 has it.
func compile(pattern string) (*regexp.Regexp, error) {
	patterns.Lock()
	defer patterns.Unlock()
	if re := patterns.known[pattern]; re != nil {
		return re, nil
	}
	if len(pattern) > maxPattern {
		return nil, errors.New("too long")
	}
	text := strings.ReplaceAll(pattern, `\Z`, `\z`)
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if len(program.Inst) > maxProgram {
		return nil, errors.New("too large")
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	patterns.size += len(program.Inst)
	if patterns.known == nil || len(patterns.known) > 100 || patterns.size > maxPatterns {
		patterns.known, patterns.size = map[string]*regexp.Regexp{}, len(program.Inst)
	}
	patterns.known[pattern] = re
	return re, nil
}

// SQLite has the operator REGEXP but leaves the function to the program.
func init() {
	sqlite.MustRegisterDeterministicScalarFunction("metric_key", 1, func(_ *sqlite.FunctionContext, a []driver.Value) (driver.Value, error) {
		name, _ := a[0].(string)
		return metricKey(name), nil
	})
	sqlite.MustRegisterDeterministicScalarFunction("regexp", 2, func(_ *sqlite.FunctionContext, a []driver.Value) (driver.Value, error) {
		pattern, _ := a[0].(string)
		text, _ := a[1].(string)
		re, err := compile(pattern)
		if err != nil {
			return nil, err
		}
		return re.MatchString(text), nil
	})
}

// rawList reads a JSON list of strings, nil for anything else.
func rawList(raw json.RawMessage) list {
	var l list
	if json.Unmarshal(raw, &l) != nil {
		return nil
	}
	return l
}

func oneOf(value string, allowed ...string) bool { return slices.Contains(allowed, value) }
