package envcache

import (
	"fmt"
	"slices"
	"strings"
)

// condaWish is a requirement of pip's that a conda package would fulfil. What the
// channels lack stays with pip.
type condaWish struct {
	Line    string   `json:"line"`    // as pip would get it
	Names   []string `json:"names"`   // that conda may know it by, the likeliest first
	Version string   `json:"version"` // "" when any will do
}

// condaNames are packages that conda knows by another name than the index does.
// A name that means something else in conda, as graphviz, needs no line: only
// packages that depend on Python are taken.
var condaNames = map[string]string{
	"build": "python-build", "docker": "docker-py", "graphviz": "python-graphviz", "msgpack": "msgpack-python",
	"opencv-contrib-python": "py-opencv", "opencv-python": "py-opencv", "opencv-python-headless": "py-opencv",
	"psycopg2-binary": "psycopg2", "redis": "redis-py", "tables": "pytables", "torch": "pytorch",
}

// condaWishes finds the lines of a list that conda packages can fulfil: those
// that are a name and a version and nothing else. Markers, extras, URLs and
// paths conda has no words for; a list with digests is for pip alone, as only
// pip would check them.
func condaWishes(list reqList) []condaWish {
	var wishes []condaWish
	limits := map[string][]string{}
	for _, line := range list.constraints {
		if l := parseLine(line); l.kind == lineName && l.mark == "" && l.value != "" {
			limits[l.name] = append(limits[l.name], l.value)
		}
	}
	for _, line := range list.lines {
		l := parseLine(line)
		if slices.ContainsFunc(l.opts, func(o string) bool { return strings.HasPrefix(o, "--hash") }) || l.flag == "--require-hashes" {
			return nil
		}
		if l.kind != lineName || l.name == "" || l.mark != "" || l.extra != "" || len(l.opts) > 0 || strings.Contains(l.value, "===") {
			continue
		}
		version := strings.Join(slices.DeleteFunc(append([]string{l.value}, limits[l.name]...), func(v string) bool { return v == "" }), ",")
		wishes = append(wishes, condaWish{Line: line, Names: namesInConda(l.name), Version: version})
	}
	return wishes
}

// uncovered parts the wishes from those whose package a spec names: a task that
// ran in a conda environment lists its packages twice.
func uncovered(wishes []condaWish, specs []string) (left, covered []condaWish) {
	names := map[string]bool{}
	for _, s := range specs {
		names[parseCondaSpec(s).name] = true
	}
	for _, w := range wishes {
		if slices.ContainsFunc(w.Names, func(n string) bool { return names[n] }) {
			covered = append(covered, w)
		} else {
			left = append(left, w)
		}
	}
	return left, covered
}

func namesInConda(name string) []string {
	if other, ok := condaNames[name]; ok {
		return []string{other}
	}
	names := []string{name}
	for _, sep := range []string{"_", "."} {
		if other := strings.ReplaceAll(name, "-", sep); !slices.Contains(names, other) {
			names = append(names, other)
		}
	}
	return names
}

// condaSpec is a wish in conda's own syntax.
type condaSpec struct {
	channel string // of "channel::name"; ""
	name    string
	rest    string // version and build, in one spelling
}

// parseCondaSpec reads as much of a spec as a key and the choice of channels
// need; what is valid, the client knows.
func parseCondaSpec(s string) condaSpec {
	var c condaSpec
	s, _, _ = strings.Cut(blanks.ReplaceAllString(s, " "), " #")
	if at := strings.LastIndex(s, "::"); at >= 0 {
		c.channel, s = strings.TrimSpace(s[:at]), s[at+2:]
	}
	s = strings.TrimSpace(s)
	end := strings.IndexAny(s, " =<>!~[")
	if end < 0 {
		end = len(s)
	}
	c.name = strings.ToLower(s[:end])
	c.rest = strings.TrimSpace(s[end:])
	for _, op := range []string{">=", "<=", "==", "!=", "~=", ">", "<", "=", ","} {
		c.rest = strings.ReplaceAll(strings.ReplaceAll(c.rest, op+" ", op), " "+op, op)
	}
	return c
}

// String is the spec in the one spelling that the key is made of.
func (c condaSpec) String() string {
	s := c.name
	if c.rest != "" {
		sep := " "
		if strings.HasPrefix(c.rest, "[") {
			sep = ""
		}
		s += sep + c.rest
	}
	if c.channel != "" {
		s = c.channel + "::" + s
	}
	return s
}

// exact tells whether the spec names one version and build.
func (c condaSpec) exact() bool {
	version := strings.TrimLeft(c.rest, "=")
	return !strings.ContainsAny(version, "*<>!~[,|") && strings.ContainsAny(version, "= ")
}

// open tells whether the spec leaves the choice of a version.
func (c condaSpec) open() bool {
	return c.rest == "" || c.rest == "*" || strings.HasPrefix(c.rest, ">") || strings.HasPrefix(c.rest, "<")
}

// specify brings the specs into one spelling, with the Python that is wanted. A
// channel that one of them names is asked, too.
func (p *condaPlan) specify(req Request, specs []string, c *channelList) error {
	if len(p.explicit) > 0 {
		return nil
	}
	python := ""
	for _, s := range specs {
		spec := parseCondaSpec(s)
		if spec.name == "" || strings.ContainsAny(s, "\n\x00") || strings.Contains(spec.name, "://") {
			return fmt.Errorf("%q is no conda package", shorten(spec.name))
		}
		if spec.channel != "" {
			one := *c
			one.names = nil
			if err := one.add(spec.channel); err != nil {
				return err
			}
			for _, n := range one.names {
				c.put(n)
				spec.channel = n
			}
			c.logins = one.logins
		}
		if spec.name == "python" {
			python = spec.rest
			if python != "" && !spec.open() && req.PythonWanted != "" && !strings.Contains(python, req.PythonWanted) {
				p.notes = append(p.notes, fmt.Sprintf("the list asks for Python %s: that counts, not %s", python, req.PythonWanted))
			}
		}
		p.specs = append(p.specs, spec.String())
	}
	if (condaSpec{rest: python}).open() {
		wanted := "python"
		if w, err := parseWanted(req.PythonWanted); err == nil && len(w.version) == 3 {
			wanted += " ==" + w.String()
		} else if err == nil && len(w.version) > 0 {
			wanted += " " + w.String() + ".*"
		}
		p.specs = append(p.specs, wanted)
	}
	slices.Sort(p.specs)
	p.specs = slices.Compact(p.specs)
	return nil
}
