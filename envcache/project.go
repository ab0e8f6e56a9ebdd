package envcache

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// ProjectPaths is what makes a project of a repository importable that is not
// installed: an environment holds what the project depends on, so that it serves
// all commits, and the project's own code is the task's.
type ProjectPaths struct {
	// Paths for PYTHONPATH, in order, relative to the repository; "." is its top.
	Paths []string
	// Name and Version as its metadata tell them; Name is "" if it has none.
	Name, Version string
	// RequiresPython is what it says of the Python it runs on, in its own words.
	RequiresPython string
	// EntryPoints by their group and name, console_scripts among them.
	EntryPoints map[string]map[string]string
}

// ProjectRoots tells how the project p of the repository at base is imported. It
// reads a file of at most 1 MiB and runs no program.
func ProjectRoots(base string, p Project) (ProjectPaths, error) {
	root, err := os.OpenRoot(base)
	if err != nil {
		return ProjectPaths{}, fmt.Errorf("cannot read the project: %w", err)
	}
	defer func() { _ = root.Close() }()
	dir := filepath.Dir(p.File)
	doc, _, err := readPyproject(root, dir)
	if err != nil {
		return ProjectPaths{}, fmt.Errorf("cannot read the project: %w", err)
	}
	out := ProjectPaths{
		Paths:          importPaths(root, dir, doc),
		Name:           cmp.Or(doc.text("project", "name"), doc.text("tool", "poetry", "name")),
		RequiresPython: cmp.Or(doc.text("project", "requires-python"), doc.text("tool", "poetry", "dependencies", "python")),
		EntryPoints:    doc.entryPoints(),
	}
	if !plain(out.Name) || out.Name == "" || len(out.Name) > 100 {
		out.Name, out.EntryPoints = "", nil
		return out, nil
	}
	out.Version = cmp.Or(doc.text("project", "version"), doc.text("tool", "poetry", "version"))
	if out.Version == "" {
		out.Version = ownVersion(root, out.Paths, out.Name)
	}
	if !versionShape.MatchString(out.Version) {
		out.Version = "0"
	}
	return out, nil
}

var versionShape = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.!+_-]{0,99}$`)

// importPaths are the folders that hold the project's packages: those that it
// names, else the usual ones.
func importPaths(root *os.Root, dir string, doc pyproject) []string {
	var found []string
	for _, d := range doc.sourceFolders() {
		d = filepath.Join(dir, d)
		if info, err := root.Stat(d); err == nil && info.IsDir() && !slices.Contains(found, d) {
			found = append(found, d)
		}
	}
	if len(found) > 0 {
		return found
	}
	if src := filepath.Join(dir, "src"); holdsPackages(root, src) {
		return []string{src}
	}
	return []string{filepath.Clean(dir)}
}

// sourceFolders are the folders that the settings of the common build backends
// name, relative to the project.
func (p pyproject) sourceFolders() []string {
	var dirs []string
	for _, pkg := range p.tables("tool", "poetry", "packages") {
		from, _ := pkg["from"].(string)
		dirs = append(dirs, cmp.Or(from, "."))
	}
	if p.text("build-system", "build-backend") == "uv_build" {
		module, set := p.table("tool", "uv", "build-backend")["module-root"].(string)
		dirs = append(dirs, cmp.Or(module, lo.Ternary(set, ".", "src")))
	}
	if top := p.text("tool", "setuptools", "package-dir", ""); top != "" {
		dirs = append(dirs, top)
	}
	dirs = append(dirs, p.texts("tool", "setuptools", "packages", "find", "where")...)
	for _, hatch := range [][]string{{"tool", "hatch", "build"}, {"tool", "hatch", "build", "targets", "wheel"}} {
		dirs = append(dirs, p.texts(append(hatch, "dev-mode-dirs")...)...)
		dirs = append(dirs, p.texts(append(hatch, "sources")...)...)
		dirs = append(dirs, lo.Map(p.texts(append(hatch, "packages")...), func(s string, _ int) string { return filepath.Dir(s) })...)
	}
	dirs = append(dirs, p.text("tool", "pdm", "build", "package-dir"), p.text("tool", "maturin", "python-source"))
	return lo.Compact(dirs)
}

// mostLooked is how many files of a folder are looked at for a package.
const mostLooked = 1000

// holdsPackages tells whether a folder holds something to import, and is not
// itself a package: in many repositories modules are imported as src.NAME.
func holdsPackages(root *os.Root, dir string) bool {
	if _, err := root.Stat(filepath.Join(dir, "__init__.py")); err == nil {
		return false
	}
	found, looked := false, 0
	_ = fs.WalkDir(root.FS(), dir, func(path string, d fs.DirEntry, err error) error {
		looked++
		found = err == nil && !d.IsDir() && strings.HasSuffix(path, ".py")
		switch {
		case found || looked > mostLooked:
			return fs.SkipAll
		case err != nil || strings.Count(path, "/") > strings.Count(dir, "/")+2:
			return fs.SkipDir
		}
		return nil
	})
	return found
}

var versionLine = regexp.MustCompile(`(?m)^__version__(?:\s*:\s*str)?\s*=\s*["']([^"'\n]+)["']`)

// ownVersion looks where most projects with a computed version write it.
func ownVersion(root *os.Root, paths []string, name string) string {
	module := strings.ReplaceAll(normalName(name), "-", "_")
	for _, dir := range paths {
		for _, file := range []string{module + "/__init__.py", module + "/_version.py", module + "/__about__.py", module + ".py"} {
			data, err := readLimited(root, filepath.Join(dir, file), mostPyproject)
			if m := versionLine.FindSubmatch(data); err == nil && m != nil {
				return string(m[1])
			}
		}
	}
	return ""
}
