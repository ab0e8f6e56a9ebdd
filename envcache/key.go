package envcache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// schema is the version of what a build does. A change in it that changes the
// files of an environment needs a new number, so that old ones are not hit.
const schema = "2"

// Part is one named thing that decides the content of an environment. No part
// may hold a secret: parts are stored and shown.
type Part struct {
	Name  string   `json:"name"`
	Value string   `json:"value,omitempty"`
	Lines []string `json:"lines,omitempty"`
}

// keyOf is the content key of an environment: 32 hex digits.
func keyOf(parts []Part) string {
	data, err := json.Marshal(parts)
	if err != nil {
		panic(err) // strings always encode
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

const (
	requirementsPart = "requirements" // the packages asked for
	lockPart         = "lock"         // what they were resolved to
	managerPart      = "manager"
	pipPart          = "pip" // that a task gets, where another manager builds
	virtualPart      = "virtual packages"
	indexPart        = "index"
	extraPart        = "extra indexes"
	// Whether the packages of the interpreter itself are seen, and when they changed.
	systemPart        = "system packages"
	systemChangedPart = "system packages changed"
)

// commonParts are those of every manager; brings: its interpreter is a package.
func commonParts(req Request, location string, brings bool) []Part {
	py := req.Python
	uid, gid := owner(req.UID, req.GID)
	owned := strconv.Itoa(uid) + ":" + strconv.Itoa(gid)
	if req.Root != nil && req.Root.Owner != "" {
		owned = req.Root.Owner
	}
	parts := []Part{
		{Name: "schema", Value: schema},
		{Name: "location", Value: location},
		{Name: "owner", Value: owned},
	}
	if req.Root != nil {
		parts = append(parts, Part{Name: "image", Value: req.Root.ID})
	}
	if brings {
		return append(parts, Part{Name: "python version", Value: req.PythonWanted})
	}
	return append(parts, []Part{
		{Name: "python version", Value: py.Implementation + " " + py.Version},
		{Name: "python ABI", Value: py.ABI},
		{Name: "platform", Value: py.Platform + " " + py.Libc},
		{Name: "interpreter", Value: py.Path},
		{Name: "interpreter prefix", Value: py.Prefix + " over " + py.BasePrefix},
		{Name: "interpreter build", Value: py.Build},
	}...)
}

// difference tells by which parts two keys differ, in words.
func difference(old, new []Part) string {
	before := map[string]Part{}
	for _, p := range old {
		before[p.Name] = p
	}
	var diffs []string
	for _, p := range new {
		q, ok := before[p.Name]
		delete(before, p.Name)
		switch {
		case !ok:
			diffs = append(diffs, p.Name+": "+brief(p)+", before none")
		case p.Lines != nil || q.Lines != nil:
			if d := lineDiff(q.Lines, p.Lines); d != "" {
				diffs = append(diffs, p.Name+": "+d)
			}
		case p.Value != q.Value:
			diffs = append(diffs, fmt.Sprintf("%s: %s, before %s", p.Name, brief(p), brief(q)))
		}
	}
	for _, q := range old {
		if _, left := before[q.Name]; left {
			diffs = append(diffs, q.Name+": none, before "+brief(q))
		}
	}
	return strings.Join(diffs, "; ")
}

// distance counts what differs, to find the nearest of several entries.
func distance(a, b []Part) int {
	n := 0
	byName := map[string]Part{}
	for _, p := range a {
		byName[p.Name] = p
	}
	for _, p := range b {
		q := byName[p.Name]
		n += 3 * min(1, abs(strings.Compare(p.Value, q.Value)))
		n += len(minus(p.Lines, q.Lines)) + len(minus(q.Lines, p.Lines))
	}
	return n + 3*abs(len(a)-len(b))
}

func abs(n int) int { return max(n, -n) }

func brief(p Part) string {
	if p.Lines != nil {
		return strconv.Itoa(len(p.Lines)) + " lines"
	}
	if p.Value == "" {
		return "none"
	}
	return shorten(p.Value)
}

func lineDiff(old, new []string) string {
	plus, gone := minus(new, old), minus(old, new)
	var words []string
	for i, l := range plus {
		if i == 3 {
			words = append(words, fmt.Sprintf("and %d more", len(plus)-3))
			break
		}
		words = append(words, "+"+shorten(l))
	}
	for i, l := range gone {
		if i == 3 {
			words = append(words, fmt.Sprintf("and %d fewer", len(gone)-3))
			break
		}
		words = append(words, "-"+shorten(l))
	}
	if len(words) == 0 && !slices.Equal(old, new) {
		return "another order"
	}
	return strings.Join(words, ", ")
}

// minus gives what is in a and not in b.
func minus(a, b []string) []string {
	have := map[string]bool{}
	for _, s := range b {
		have[s] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return have[s] })
}
