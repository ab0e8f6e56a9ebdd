package envcache

import (
	"fmt"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// flagsPart are the request's flags, in the key.
const flagsPart = "flags"

// flagParts are of a request with flags alone: the keys of others stay what they were.
func flagParts(req Request) []Part {
	if len(req.InstallFlags) == 0 {
		return nil
	}
	return []Part{{Name: flagsPart, Lines: sorted(req.InstallFlags)}}
}

// buildFlags are those flags that decide how a package is built: they count for what a
// lock has from source, too.
func buildFlags(req Request) []string {
	return lo.Filter(req.InstallFlags, func(f string, _ int) bool { return f == "--no-build-isolation" || f == "--use-pep517" })
}

// uvFlags gives uv the request's flags as options of the list, where it knows them.
func uvFlags(list *reqList, req Request) (noDeps bool, notes []string) {
	var lines []string
	for _, f := range req.InstallFlags {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "--no-deps":
			noDeps = true
		case "--pre", "--require-hashes":
			lines = append(lines, name)
		case "--only-binary", "--no-binary":
			lines = append(lines, name+" "+value)
		case "--use-pep517": // uv knows nothing else
		default:
			notes = append(notes, fmt.Sprintf("%s is left out: uv has nothing like it", name))
		}
	}
	list.lines = append(lines, list.lines...)
	return noDeps, notes
}

// noFlags tells of flags that a manager can't be given.
func noFlags(req Request, manager string) []string {
	if len(req.InstallFlags) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s are left out: they are of pip, and packages come by %s", strings.Join(req.InstallFlags, ", "), manager)}
}

// optional tells whether the environment may be without the package.
func (r *Request) optional(name string) bool {
	is := func(n string) bool { return name != "" && normalName(n) == name }
	return !slices.ContainsFunc(slices.Concat(r.Priority, r.Post), is) && slices.ContainsFunc(slices.Concat(r.PriorityOptional, r.PostOptional), is)
}

// maybe tells whether a package of the list may lack: then it is tried again as what
// pins no version is.
func (r *Request) maybe(list reqList) bool {
	return slices.ContainsFunc(list.lines, func(l string) bool { return r.optional(parseLine(l).name) })
}
