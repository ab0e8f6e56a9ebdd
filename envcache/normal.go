package envcache

import (
	"regexp"
	"slices"
	"strings"
)

// normalName is the name of a package as PEP 503 compares it.
func normalName(name string) string {
	if strings.ContainsAny(name, "-_.") {
		name = runs.ReplaceAllString(name, "-")
	}
	return strings.ToLower(name)
}

func normalExtras(s string) string {
	s = strings.Trim(s, "[] ")
	if s == "" {
		return ""
	}
	var all []string
	for e := range strings.SplitSeq(s, ",") {
		all = append(all, normalName(strings.TrimSpace(e)))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}

var clause = regexp.MustCompile(`^(===|==|~=|!=|<=|>=|<|>)\s*([A-Za-z0-9._*+!-]+)$`)

// normalSpecifier sorts the clauses of a version specifier; it fails for what is
// none.
func normalSpecifier(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "(") && strings.HasSuffix(s, ")") {
		s = s[1 : len(s)-1]
	}
	if strings.TrimSpace(s) == "" {
		return "", true
	}
	var all []string
	for c := range strings.SplitSeq(s, ",") {
		m := clause.FindStringSubmatch(strings.TrimSpace(c))
		if m == nil {
			return "", false
		}
		all = append(all, m[1]+m[2])
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ","), true
}

func normalMarker(s string) string {
	return strings.ReplaceAll(blanks.ReplaceAllString(s, " "), "'", `"`)
}
