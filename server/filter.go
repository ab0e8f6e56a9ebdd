package server

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
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

// in keeps rows whose column is one of values. A leading "-" excludes.
func (f *filter) in(column string, values []string) {
	var with, without []string
	for _, v := range values {
		if rest, ok := strings.CutPrefix(v, "-"); ok {
			without = append(without, rest)
		} else {
			with = append(with, v)
		}
	}
	if len(with) > 0 {
		f.add(column+` IN (SELECT value FROM json_each(?))`, jsonList(with))
	}
	if len(without) > 0 {
		f.add(column+` NOT IN (SELECT value FROM json_each(?))`, jsonList(without))
	}
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

// Operators in a list of tags.
const (
	tagsAll = "__$all"
	tagsAnd = "__$and"
	tagsAny = "__$any"
	tagsOr  = "__$or"
	tagsNot = "__$not"
)

// tags keeps rows by the tags in a column: any of those that are named, none of
// those with a leading "-" or behind __$not; after __$all or __$and, all.
func (f *filter) tags(column string, values []string) {
	var anyOf, allOf, noneOf []string
	all, not := false, false
	for _, v := range values {
		switch {
		case v == tagsAll || v == tagsAnd:
			all = true
		case v == tagsAny || v == tagsOr:
			all = false
		case v == tagsNot:
			not = true
		case not || strings.HasPrefix(v, "-"):
			noneOf, not = append(noneOf, strings.TrimPrefix(v, "-")), false
		case all:
			allOf = append(allOf, v)
		default:
			anyOf = append(anyOf, v)
		}
	}
	const overlap = `EXISTS (SELECT 1 FROM json_each(%s) WHERE value IN (SELECT value FROM json_each(?)))`
	if len(anyOf) > 0 {
		f.add(fmt.Sprintf(overlap, column), jsonList(anyOf))
	}
	if len(noneOf) > 0 {
		f.add("NOT "+fmt.Sprintf(overlap, column), jsonList(noneOf))
	}
	for _, v := range allOf {
		f.add(fmt.Sprintf(overlap, column), jsonList([]string{v}))
	}
}

// anyAll is the protocol's _any_ and _all_: a pattern in some or all of the fields.
type anyAll struct {
	Pattern string `json:"pattern"`
	Fields  texts  `json:"fields"`
}

// match adds an anyAll; columns gives the column of a field, or "".
func (f *filter) match(m *anyAll, all bool, columns func(string) string) error {
	if m == nil || m.Pattern == "" {
		return nil
	}
	var parts []string
	for _, name := range m.Fields {
		column := columns(name)
		if column == "" {
			return refuse(400, 14, "Invalid fields: fields=%.200s", name)
		}
		if _, err := compile(m.Pattern); err != nil {
			return refuse(400, 21, "Malformed regular expression: %.200s", m.Pattern)
		}
		parts = append(parts, column+` REGEXP ?`)
		f.args = append(f.args, m.Pattern)
	}
	if len(parts) > 0 {
		f.where = append(f.where, "("+strings.Join(parts, map[bool]string{true: " AND ", false: " OR "}[all])+")")
	}
	return nil
}

// order turns order_by into an ORDER BY. Rows that are equal keep the order of
// their creation, so that pages never overlap.
func order(by []string, column func(string) string, fallback string) (string, error) {
	var parts []string
	for _, name := range by {
		name, desc := strings.CutPrefix(name, "-")
		col := column(name)
		if col == "" {
			return "", refuse(400, 14, "Invalid fields: order_by=%.200s", name)
		}
		parts = append(parts, col+map[bool]string{true: " DESC", false: " ASC"}[desc])
	}
	return " ORDER BY " + strings.Join(append(parts, fallback), ", "), nil
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
}

// compile reads a regular expression of Python's kind as far as RE2 has it.
func compile(pattern string) (*regexp.Regexp, error) {
	patterns.Lock()
	defer patterns.Unlock()
	if re := patterns.known[pattern]; re != nil {
		return re, nil
	}
	if len(pattern) > 10_000 {
		return nil, errors.New("too long")
	}
	re, err := regexp.Compile(strings.ReplaceAll(pattern, `\Z`, `\z`))
	if err != nil {
		return nil, err
	}
	if patterns.known == nil || len(patterns.known) > 100 {
		patterns.known = map[string]*regexp.Regexp{}
	}
	patterns.known[pattern] = re
	return re, nil
}

// SQLite has the operator REGEXP but leaves the function to the program.
func init() {
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
