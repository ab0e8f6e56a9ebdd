package envcache

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/samber/lo"
)

// missingPackage is a package that pip found nothing of.
type missingPackage struct {
	name, version string   // version "" if more than one would have done
	asked         string   // the requirement
	versions      []string // that pip would take, in order
	python        Interpreter
}

// wheelTags are what a wheel's name says it is for.
type wheelTags struct {
	version                  string
	pythons, abis, platforms []string
}

var wheelParts = regexp.MustCompile(`^[^-]+-([^-]+)(?:-\d[^-]*)?-([^-]+)-([^-]+)-([^-]+)\.whl$`)

func parseWheel(name string) (wheelTags, bool) {
	m := wheelParts.FindStringSubmatch(name)
	if m == nil {
		return wheelTags{}, false
	}
	dots := func(s string) []string { return strings.Split(s, ".") }
	return wheelTags{m[1], dots(m[2]), dots(m[3]), dots(m[4])}, true
}

// from tells why none of the index's files of the package does.
func (w missingPackage) from(files []pageFile) string {
	if len(files) == 0 {
		return "the index has no package " + w.name
	}
	if len(w.versions) > 0 {
		some := w.versions[max(0, len(w.versions)-5):]
		return fmt.Sprintf("the index has no %s for Python %s; the newest there are: %s", w.asked, w.python.Version, strings.Join(some, ", "))
	}
	files = lo.Filter(files, func(f pageFile, _ int) bool { return w.version == "" || strings.Contains(f.name, "-"+w.version) })
	unfit := lo.Filter(files, func(f pageFile, _ int) bool {
		ok, err := satisfies(w.python.Version, f.requires)
		return err == nil && !ok
	})
	if len(files) == 0 {
		return fmt.Sprintf("the index has no %s %s", w.name, w.version)
	}
	if len(unfit) == len(files) {
		return fmt.Sprintf("%s needs Python %s, and this is %s", w.full(), unfit[len(unfit)-1].requires, w.python.Version)
	}
	var pythons, platforms []string
	for _, f := range files {
		t, ok := parseWheel(f.name)
		switch {
		case !ok: // an archive of source, which pip would have taken unless it was told not to
			return ""
		case t.fits(w.python.Numbers()):
			platforms = append(platforms, t.platforms...)
		default:
			pythons = append(pythons, t.pythons...)
		}
	}
	if platforms != nil {
		return fmt.Sprintf("%s has wheels for other platforms than %s only: %s", w.full(), w.python.Platform, oneLineOf(platforms, strings.Compare))
	}
	names := lo.Map(pythons, func(tag string, _ int) string { return pythonOf(tag) })
	byVersion := func(a, b string) int {
		x, y := numbers(a), numbers(b)
		return slices.Compare(x[:], y[:])
	}
	return fmt.Sprintf("%s has wheels for Python %s only, and this is %s", w.full(), oneLineOf(names, byVersion), w.python.Version)
}

func (w missingPackage) full() string { return strings.TrimSpace(w.name + " " + w.version) }

func oneLineOf(words []string, order func(a, b string) int) string {
	words = lo.Uniq(words)
	slices.SortFunc(words, order)
	if len(words) > 8 {
		words = append(words[:8], "…")
	}
	return strings.Join(words, ", ")
}

var pythonTag = regexp.MustCompile(`^(py|cp|pp)(\d)(\d*)$`)

// pythonOf is the version that a tag as cp311 stands for.
func pythonOf(tag string) string {
	m := pythonTag.FindStringSubmatch(tag)
	if m == nil {
		return tag
	}
	version := m[2]
	if m[3] != "" {
		version += "." + m[3]
	}
	if m[1] == "pp" {
		return "PyPy " + version
	}
	return version
}

// fits tells whether a CPython of that version may take the wheel, whatever the
// platform.
func (t wheelTags) fits(python [3]int) bool {
	return slices.ContainsFunc(t.pythons, func(tag string) bool {
		m := pythonTag.FindStringSubmatch(tag)
		if m == nil || m[1] == "pp" || m[2] != strconv.Itoa(python[0]) {
			return false
		}
		minor, err := strconv.Atoi(m[3])
		switch {
		case err != nil: // py3
			return true
		case m[1] == "cp" && !slices.Contains(t.abis, "abi3") && !slices.Contains(t.abis, "none"):
			return minor == python[1]
		}
		return minor <= python[1]
	})
}
