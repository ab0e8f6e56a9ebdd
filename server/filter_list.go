package server

import (
	"fmt"
	"strings"

	"github.com/samber/lo"
)

// Operators in a list of values. The first one in a list also joins what the
// list asks for; without one everything must hold.
const (
	opAll = "__$all"
	opAnd = "__$and"
	opAny = "__$any"
	opOr  = "__$or"
	opNot = "__$not"
	opNop = "__$nop"
)

// choice is a list of values of a request, read: the row must have one of some,
// each of all and none of none.
type choice struct {
	some, all, none []string
	or              bool // one of the three is enough
}

// parseChoice reads a list: values behind __$all or __$and are wanted all, others
// one of them; __$not excludes the next value, as a leading "-" does where there
// was no operator yet.
func parseChoice(field string, values []string) (c choice, err error) {
	all, not, legacy, first := false, false, true, true
	for _, v := range values {
		switch {
		case not && strings.HasPrefix(v, "__$"):
			return c, refuse(400, 14, "Invalid value for a field: field=%s, a value is expected after %s", field, opNot)
		case v == opNot:
			not = true
		case v == opAll, v == opAnd, v == opAny, v == opOr:
			all = v == opAll || v == opAnd
			c.or, legacy, first = first && !all || !first && c.or, false, false
		case v == opNop:
			all, legacy = false, true
		case strings.HasPrefix(v, "__$"):
			return c, refuse(400, 14, "Invalid value for a field: field=%s, unsupported operator %.40s", field, v)
		case not || legacy && strings.HasPrefix(v, "-"):
			c.none = append(c.none, lo.Ternary(not, v, strings.TrimPrefix(v, "-")))
			not, first = false, false
		case all:
			c.all, first = append(c.all, v), false
		default:
			c.some, first = append(c.some, v), false
		}
	}
	if len(c.all) > maxTerms {
		return c, invalid(field, "more than %d that must all be there", maxTerms)
	}
	if not {
		return c, refuse(400, 14, "Invalid value for a field: field=%s, a value is expected after %s", field, opNot)
	}
	return c, nil
}

// choose keeps rows that c wants; one is the condition that a row has one of the
// values of its argument, a list.
func (f *filter) choose(c choice, one string) {
	var parts []string
	var a []any
	add := func(condition string, values []string) {
		parts, a = append(parts, condition), append(a, jsonList(values))
	}
	if len(c.some) > 0 {
		add(one, c.some)
	}
	if len(c.none) > 0 {
		add("NOT "+one, c.none)
	}
	for _, v := range c.all {
		add(one, []string{v})
	}
	if len(parts) == 0 {
		return
	}
	if c.or && len(c.all) > 1 { // all of them are one of the three
		last := len(parts) - len(c.all)
		parts = append(parts[:last:last], "("+strings.Join(parts[last:], " AND ")+")")
	}
	f.add("("+strings.Join(parts, lo.Ternary(c.or, " OR ", " AND "))+")", a...)
}

// in keeps rows by the value of a column.
func (f *filter) in(column string, values []string) error {
	c, err := parseChoice(strings.TrimPrefix(column, "t."), values)
	f.choose(c, "("+column+` IN (SELECT value FROM json_each(?)))`)
	return err
}

// tags keeps rows by the list in a column.
func (f *filter) tags(column string, values []string) error {
	c, err := parseChoice(column, values)
	f.choose(c, fmt.Sprintf(`EXISTS (SELECT 1 FROM json_each(%s) WHERE value IN (SELECT value FROM json_each(?)))`, column))
	return err
}

// visible leaves out what is hidden, unless it is asked for: by name of the tag,
// by id, or by hidden.
func (f *filter) visible(column string, hidden bool, ids, systemTags []string) {
	if !hidden && len(ids) == 0 && !lo.Contains(systemTags, hiddenTag) {
		f.choose(choice{none: []string{hiddenTag}}, fmt.Sprintf(`EXISTS (SELECT 1 FROM json_each(%s) WHERE value IN (SELECT value FROM json_each(?)))`, column))
	}
}
