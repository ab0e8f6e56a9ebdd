package envcache

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// candidate is a path that may be an interpreter. hint is the version that its
// name tells, as [3 11], or empty.
type candidate struct {
	path string
	hint []string
}

var pythonName = regexp.MustCompile(`^python(3(?:\.(\d+))?)?$`)

// candidates lists what may be a Python 3: the folders of PATH in order, a
// folder of pyenv shims standing for pyenv's versions (those that `pyenv
// global` or PYENV_VERSION chose first), then the other versions of pyenv, then
// the usual folders. What is surely a Python 2 is left out. A shim itself is never one: it costs 170 ms per start, and
// means another interpreter in another folder.
func candidates(getenv func(string) string, usual []string) []candidate {
	var all []candidate
	pyenv := pyenvRoot(getenv)
	for _, dir := range filepath.SplitList(cmp.Or(getenv("PATH"), defaultPath)) {
		switch {
		case !filepath.IsAbs(dir):
		case filepath.Base(dir) == "shims":
			root := filepath.Dir(dir)
			if root != pyenv && !isDir(filepath.Join(root, "versions")) {
				all = append(all, inFolder(dir, nil)...)
				continue
			}
			for _, v := range pyenvChosen(root, getenv) {
				all = append(all, inFolder(filepath.Join(root, "versions", v, "bin"), versionHint(v))...)
			}
		default:
			all = append(all, inFolder(dir, nil)...)
		}
	}
	for _, v := range pyenvVersions(pyenv) {
		all = append(all, inFolder(filepath.Join(pyenv, "versions", v, "bin"), versionHint(v))...)
	}
	for _, dir := range usual {
		all = append(all, inFolder(dir, nil)...)
	}
	return unique(all)
}

// inFolder lists python3, python and python3.N of one folder, in this order.
func inFolder(dir string, hint []string) []candidate {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var found []candidate
	for _, f := range files {
		m := pythonName.FindStringSubmatch(f.Name())
		if m == nil {
			continue
		}
		c := candidate{filepath.Join(dir, f.Name()), hint}
		if hint == nil && m[2] != "" {
			c.hint = []string{"3", m[2]}
		}
		found = append(found, c)
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(rank(a.path), rank(b.path)) })
	return found
}

// rank puts the names that mean "the one to use" before those with a version.
func rank(path string) int {
	switch filepath.Base(path) {
	case "python3":
		return 0
	case "python":
		return 1
	}
	return 2
}

// unique drops further names of one file; the name with a version wins, since
// it tells what to expect without a probe.
func unique(all []candidate) []candidate {
	var out []candidate
	seen := map[string]int{}
	for _, c := range all {
		real, err := filepath.EvalSymlinks(c.path)
		if err != nil || len(c.hint) > 0 && c.hint[0] != "3" {
			continue
		}
		if i, ok := seen[real]; ok {
			if out[i].hint == nil {
				out[i].hint = c.hint
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(c.path), "..", "pyvenv.cfg")); err == nil {
			c.path = real // somebody's virtual environment, which may go any day
		}
		if h := pythonName.FindStringSubmatch(filepath.Base(real)); c.hint == nil && h != nil && h[2] != "" {
			c.hint = []string{"3", h[2]}
		}
		seen[real] = len(out)
		out = append(out, c)
	}
	return out
}

func pyenvRoot(getenv func(string) string) string {
	if root := getenv("PYENV_ROOT"); filepath.IsAbs(root) {
		return filepath.Clean(root)
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".pyenv")
	}
	return ""
}

// pyenvChosen are the versions that PYENV_VERSION or `pyenv global` names.
func pyenvChosen(root string, getenv func(string) string) []string {
	chosen := strings.Split(getenv("PYENV_VERSION"), ":")
	if getenv("PYENV_VERSION") == "" {
		data, err := os.ReadFile(filepath.Join(root, "version"))
		if err != nil {
			return nil
		}
		chosen = strings.Fields(string(data))
	}
	installed := pyenvVersions(root)
	var out []string
	for _, want := range chosen {
		// pyenv takes "3.11" for the newest 3.11.N.
		for _, v := range installed {
			if v == want || strings.HasPrefix(v, want+".") {
				out = append(out, v)
				break
			}
		}
	}
	return out
}

// pyenvVersions are the installed versions, the newest first.
func pyenvVersions(root string) []string {
	if root == "" {
		return nil
	}
	files, err := os.ReadDir(filepath.Join(root, "versions"))
	if err != nil {
		return nil
	}
	var all []string
	for _, f := range files {
		all = append(all, f.Name())
	}
	slices.SortFunc(all, func(a, b string) int {
		x, y := numbers(a), numbers(b)
		return cmp.Or(slices.Compare(y[:], x[:]), strings.Compare(a, b))
	})
	return all
}

var plainVersion = regexp.MustCompile(`^\d+(\.\d+)*$`)

// versionHint is the version in the name of a pyenv folder; other names, as of
// pypy or of a virtual environment, tell nothing.
func versionHint(name string) []string {
	if !plainVersion.MatchString(name) {
		return nil
	}
	return strings.Split(name, ".")
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
