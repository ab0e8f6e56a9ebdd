package envcache

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// satisfies tells whether a released version of Python, as "3.11.7", is one that
// a version specifier (PEP 440) allows.
func satisfies(version, specifier string) (bool, error) {
	spec, ok := normalSpecifier(specifier)
	if !ok {
		return false, fmt.Errorf("%q is no version specifier", shorten(specifier))
	}
	if spec == "" {
		return true, nil
	}
	have := numbers(version)
	for c := range strings.SplitSeq(spec, ",") {
		ok, err := clauseHolds(have, c)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func clauseHolds(have [3]int, c string) (bool, error) {
	m := clause.FindStringSubmatch(c)
	if m == nil {
		return false, fmt.Errorf("%q is no version clause", shorten(c))
	}
	op, text := m[1], m[2]
	prefix, wild := strings.CutSuffix(text, ".*")
	want, err := release(prefix)
	if err != nil || wild && op != "==" && op != "!=" || op == "~=" && len(want) < 2 {
		return false, fmt.Errorf("%q is no clause for a version of Python", shorten(c))
	}
	full := append(slices.Clone(want), 0, 0, 0)[:max(3, len(want))]
	order := slices.Compare(append(have[:], make([]int, len(full)-3)...), full)
	switch op {
	case "==", "===":
		return order == 0 || wild && begins(have, want), nil
	case "!=":
		return order != 0 && (!wild || !begins(have, want)), nil
	case ">=":
		return order >= 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	case "<":
		return order < 0, nil
	}
	return order >= 0 && begins(have, want[:len(want)-1]), nil // ~=
}

func begins(have [3]int, want []int) bool {
	return len(want) <= 3 && slices.Equal(have[:len(want)], want)
}

// release reads the numbers of a version. What follows them, as "rc1", stands for
// a version just before: of Pythons that are released that makes no difference.
func release(text string) ([]int, error) {
	if strings.ContainsAny(text, "!*") {
		return nil, errors.New("an epoch, or a second *")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i >= 0 {
		text = strings.TrimRight(text[:i], ".")
	}
	var out []int
	for s := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}
