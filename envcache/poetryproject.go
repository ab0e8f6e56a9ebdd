package envcache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

const (
	poetryLockFile = "poetry.lock"
	poetryConfig   = "poetry.toml"
	mostLockFile   = 64 << 20
)

// poetryProject is what the repository says of a project of poetry.
type poetryProject struct {
	dir       string // relative to the repository
	doc       pyproject
	pyproject []byte
	lock      []byte         // poetry.lock; nil if there is none
	config    map[string]any // of poetry.toml, what decides which files are installed
	lines     []string       // of doc and config, what decides which packages are installed
}

func readPoetryProject(req Request) (p poetryProject, err error) {
	if req.Lock != nil {
		req.Project = Project{ProjectPoetry, req.Lock.File}
	}
	if req.BaseDir == "" || req.Project.Kind != ProjectPoetry {
		return p, fmt.Errorf("poetry needs a repository with a %s, and can't read %q", pyprojectFile, shorten(req.Project.File))
	}
	root, err := os.OpenRoot(req.BaseDir)
	if err != nil {
		return p, fmt.Errorf("cannot read the repository: %w", err)
	}
	defer func() { _ = root.Close() }()
	p.dir = filepath.Dir(req.Project.File)
	if p.doc, p.pyproject, err = readPyproject(root, p.dir); err != nil {
		return p, err
	}
	p.lock, err = readLimited(root, p.lockName(), mostLockFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	data, err := readLimited(root, filepath.Join(p.dir, poetryConfig), mostPyproject)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	var config pyproject
	if err := toml.Unmarshal(data, &config); err != nil {
		return p, fmt.Errorf("%s is not valid: %s", filepath.Join(p.dir, poetryConfig), shorten(err.Error()))
	}
	p.config = ownConfig(config)
	p.lines, err = p.relevant()
	return p, err
}

func (p *poetryProject) lockName() string { return filepath.Join(p.dir, poetryLockFile) }

// ownConfig is what may stand in a project's poetry.toml and counts: which files
// are taken. Where poetry keeps its environments and caches is not the project's.
func ownConfig(all pyproject) map[string]any {
	out := map[string]any{}
	for _, name := range []string{"no-binary", "only-binary", "build-config-settings"} {
		if v := all.at("installer", name); v != nil {
			if out["installer"] == nil {
				out["installer"] = map[string]any{}
			}
			out["installer"].(map[string]any)[name] = v
		}
	}
	if solver := all.table("solver"); solver != nil {
		out["solver"] = solver
	}
	return out
}

// deciding are the keys of a pyproject.toml that decide which packages poetry
// installs. A project's version or the settings of its linters do not.
var deciding = [][]string{
	{"project", "requires-python"}, {"project", "dependencies"}, {"project", "optional-dependencies"}, {"project", "dynamic"},
	{"dependency-groups"},
	{"tool", "poetry", "dependencies"}, {"tool", "poetry", "dev-dependencies"}, {"tool", "poetry", "group"},
	{"tool", "poetry", "extras"}, {"tool", "poetry", "source"},
	{"tool", "poetry", "build-constraints"}, {"tool", "poetry", "requires-poetry"},
}

// relevant is the project as lines of a key, without credentials.
func (p *poetryProject) relevant() ([]string, error) {
	var lines []string
	add := func(name string, v any) error {
		if v == nil {
			return nil
		}
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%s in %s is not valid: %w", name, filepath.Join(p.dir, pyprojectFile), err)
		}
		lines = append(lines, name+" = "+secret.RedactURLs(string(data)))
		return nil
	}
	for _, path := range deciding {
		if err := add(strings.Join(path, "."), p.doc.at(path...)); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(slices.Values(lo.Keys(p.config))) {
		if err := add(poetryConfig+" "+name, p.config[name]); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

func (p *poetryProject) groupNames() []string {
	names := []string{mainGroup}
	names = append(names, lo.Keys(p.doc.table("tool", "poetry", "group"))...)
	names = append(names, lo.Keys(p.doc.table("dependency-groups"))...)
	if p.doc.at("tool", "poetry", "dev-dependencies") != nil {
		names = append(names, "dev")
	}
	return normalNames(names)
}

func (p *poetryProject) extraNames() []string {
	return normalNames(append(lo.Keys(p.doc.table("project", "optional-dependencies")), lo.Keys(p.doc.table("tool", "poetry", "extras"))...))
}

func normalNames(names []string) []string {
	names = lo.Map(names, func(n string, _ int) string { return normalName(n) })
	slices.Sort(names)
	return slices.Compact(names)
}

// poetrySource is an index that the project names.
type poetrySource struct{ name, url string }

func (p *poetryProject) sources() []poetrySource {
	var out []poetrySource
	for _, s := range p.doc.tables("tool", "poetry", "source") {
		name, _ := s["name"].(string)
		url, _ := s["url"].(string)
		out = append(out, poetrySource{name, url})
	}
	return out
}

// lockedPath finds packages of the repository itself in a lock.
var lockedPath = regexp.MustCompile(`type\s*=\s*["'](directory|file)["']`)

// takesFromRepository tells whether packages of the repository are among what the
// groups ask for. Parsing a large lock takes longer than a hit may, so that is
// done only if it names such packages at all.
func (p *poetryProject) takesFromRepository(groups []string) (bool, error) {
	if p.lock == nil {
		paths := lo.FlatMap(deciding, func(path []string, _ int) []string { return pathsIn(p.doc.at(path...)) })
		return len(paths) > 0, p.inside(pyprojectFile, paths...)
	}
	if !lockedPath.Match(p.lock) {
		return false, nil
	}
	var lock struct {
		Package []struct {
			Groups []string `toml:"groups"`
			Source struct {
				Type string `toml:"type"`
				URL  string `toml:"url"`
			} `toml:"source"`
		} `toml:"package"`
	}
	if err := toml.Unmarshal(p.lock, &lock); err != nil {
		return false, fmt.Errorf("%s is not valid: %s", p.lockName(), shorten(err.Error()))
	}
	var taken []string
	for _, pkg := range lock.Package {
		if pkg.Source.Type != "directory" && pkg.Source.Type != "file" {
			continue
		}
		if pkg.Groups == nil || slices.ContainsFunc(pkg.Groups, func(g string) bool {
			return g == mainGroup || slices.Contains(groups, "*") || slices.Contains(groups, normalName(g))
		}) {
			taken = append(taken, pkg.Source.URL)
		}
	}
	return len(taken) > 0, p.inside(poetryLockFile, taken...)
}

// fileURL is how a requirement names a file of this host.
var fileURL = regexp.MustCompile(`(?:^|@\s*)file:(\S+)`)

// pathsIn are the paths that dependencies name, in lists of requirements or in
// poetry's own tables.
func pathsIn(v any) (paths []string) {
	switch v := v.(type) {
	case string:
		if m := fileURL.FindStringSubmatch(v); m != nil {
			paths = append(paths, m[1])
		}
	case []any:
		for _, e := range v {
			paths = append(paths, pathsIn(e)...)
		}
	case map[string]any:
		for key, e := range v {
			path, ok := e.(string)
			switch {
			case ok && (key == "path" || key == "file"):
				paths = append(paths, path)
			case !ok || key != "git": // git's repositories may be files, as with pip
				paths = append(paths, pathsIn(e)...)
			}
		}
	}
	return paths
}

// inside refuses packages that come from the host rather than from the repository.
func (p *poetryProject) inside(file string, paths ...string) error {
	for _, path := range paths {
		if filepath.IsAbs(path) || !filepath.IsLocal(filepath.Join(p.dir, path)) {
			return fmt.Errorf("%s takes a package from outside the repository: %s", filepath.Join(p.dir, file), shorten(path))
		}
	}
	return nil
}
