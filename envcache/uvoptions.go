package envcache

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// uvOptions are the options of a list in pip's words, as uv is told of them.
type uvOptions struct {
	lines     []string // the list itself, without what is told otherwise
	keep      []string // options that also count when the lock is installed
	index     string
	extra     []string
	findLinks []string
	trusted   []string
	noIndex   bool
	pre       bool
	hashed    bool // every package must be given with a hash
	direct    bool // something comes from a path: there is nothing to lock
	hashes    map[string][]string
	notes     []string
	set       bool // the list itself said which index
}

// uvOptionsOf goes through a list. uv knows all lines of pip's, but not all
// options, and takes no package of a repository as editable.
func uvOptionsOf(list *reqList, repository bool) (uvOptions, error) {
	o := uvOptions{hashes: map[string][]string{}}
	for _, line := range list.lines {
		l := parseLine(line)
		switch {
		case l.kind == lineOption:
			if err := o.option(line, l, list, repository); err != nil {
				return o, err
			}
			continue
		case l.kind == lineEditable && vcsScheme.MatchString(l.value):
			o.notes = append(o.notes, fmt.Sprintf("%s is installed, but not as editable: uv does not do that with repositories", shorten(l.value)))
			line = l.value
		case l.kind == lineEditable, l.kind == linePath, strings.HasPrefix(l.value, "file://"):
			o.direct = true
		}
		for _, h := range l.opts {
			if sum, ok := strings.CutPrefix(h, "--hash="); ok {
				o.hashed = true
				key := cmp.Or(l.name, l.value)
				o.hashes[key] = append(o.hashes[key], sum)
			}
		}
		o.lines = append(o.lines, line)
	}
	return o, nil
}

// option takes one option. What neither uv nor this knows stays in the list, and
// uv says so.
func (o *uvOptions) option(line string, l reqLine, list *reqList, repository bool) error {
	switch l.flag {
	case "--index-url": // as pip does it, it ends what was said before
		o.index, o.extra, o.set = l.value, nil, true
	case "--extra-index-url":
		o.extra = append(o.extra, l.value)
	case "--no-index":
		o.noIndex = true
	case "--find-links":
		if !strings.Contains(l.value, "://") && !filepath.IsAbs(l.value) {
			if !repository || !filepath.IsLocal(l.value) {
				return fmt.Errorf("%q: there is no such folder in the task's repository", shorten(line))
			}
			list.local, o.direct = true, true
		}
		o.findLinks = append(o.findLinks, l.value)
	case "--pre":
		o.pre = true
	case "--require-hashes":
		o.hashed = true
	case "--trusted-host":
		o.trusted = append(o.trusted, l.value)
	case "--prefer-binary", "--use-feature", "--use-deprecated":
	case "--no-binary", "--only-binary":
		o.keep = append(o.keep, line)
		o.lines = append(o.lines, line)
	default:
		o.lines = append(o.lines, line)
	}
	return nil
}

// addIndexes puts the indexes of the request or the host before those of the list.
func (o *uvOptions) addIndexes(s pipSettings) {
	if o.set {
		return
	}
	o.index, o.extra = s.index, append(slices.Clone(s.extra), o.extra...)
}

// settings are the same as uv's own. Indexes without an order of importance, as
// pip has them: the best version wins.
func (o *uvOptions) settings(py Interpreter) uvSettings {
	out := uvSettings{NoIndex: o.noIndex, FindLinks: o.findLinks, Strategy: "unsafe-best-match"}
	for _, x := range o.extra {
		out.Indexes = append(out.Indexes, uvIndex{URL: x})
	}
	if main := cmp.Or(o.index, defaultIndex(py)); main != "" {
		out.Indexes = append(out.Indexes, uvIndex{URL: main, Default: true})
	}
	return out
}

// sums are the hashes that the list gives for a package: by its name or by where
// it comes from.
func (o *uvOptions) sums(keys ...string) []string {
	return lo.Uniq(lo.FlatMap(keys, func(k string, _ int) []string { return o.hashes[k] }))
}
