package envcache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

// readUVFile plans the installation of a lock file of the repository. It is asked
// on every request, and a lock may be large: it is read by expressions, not as
// TOML. Whoever writes it in other ways misses his files, no more.
func readUVFile(req Request, project Project) (*uvFile, error) {
	root, err := os.OpenRoot(req.BaseDir)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", shorten(project.File), err)
	}
	defer func() { _ = root.Close() }()
	data, err := readLimited(root, project.File, mostProjectFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", shorten(project.File), err)
	}
	f := &uvFile{project: project, sha256: plainDigest(data)}
	if project.Kind == ProjectUV {
		err = f.readProject(root, data)
	} else {
		err = f.readPylock(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", project.File, err)
	}
	return f, f.check(req.Lock)
}

// uvSource is where uv.lock says that a package comes from.
var uvSource = regexp.MustCompile(`(?m)^source = \{ (registry|url|git|editable|virtual|directory|path) = "([^"]*)"`)

func (f *uvFile) readProject(root *os.Root, lock []byte) error {
	p, _, err := readPyproject(root, f.where())
	if err != nil {
		return fmt.Errorf("it needs its %s: %w", pyprojectFile, err)
	}
	// uv prefers uv.toml to what pyproject.toml says of uv.
	own, err := readLimited(root, path.Join(f.where(), uvOwn), mostProjectFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// What the lock must fit: with any other of it the lock may be stale.
	said := append([]any{p.at("tool", "uv"), p.at("dependency-groups")}, lo.Map(lockedFields, func(f string, _ int) any { return p.at("project", f) })...)
	settings, err := json.Marshal(said)
	if err != nil {
		return fmt.Errorf("%s: %w", pyprojectFile, err)
	}
	f.settings = plainDigest(settings) + plainDigest(own)
	f.indexed = len(own) > 0 || p.at("tool", "uv", "index") != nil || p.at("tool", "uv", "index-url") != nil
	// Without static dependencies uv has to build the project to learn them.
	f.local = slices.ContainsFunc(p.texts("project", "dynamic"), func(s string) bool { return strings.HasSuffix(s, "dependencies") })
	for _, m := range uvSource.FindAllSubmatch(lock, -1) {
		if err := f.source(string(m[1]), string(m[2])); err != nil {
			return err
		}
	}
	return nil
}

const uvOwn = "uv.toml"

var lockedFields = []string{"name", "version", "requires-python", "dependencies", "optional-dependencies", "dynamic"}

func (f *uvFile) source(kind, value string) error {
	switch kind {
	case "registry", "url", "git":
		if strings.Contains(value, "://") {
			f.from(kind, value)
			return outside(value)
		}
	case "editable", "virtual":
		if value == "." { // the project itself, which is not installed
			return nil
		}
	}
	f.local = true
	return f.inside(value)
}

// from notes an address that packages come from: somebody may know credentials.
func (f *uvFile) from(kind, link string) {
	plain, _ := secret.SplitURL(link)
	switch kind {
	case "registry":
		f.registry = lo.Uniq(append(f.registry, plain))
	case "git":
		plain, _, _ = strings.Cut(plain, "?")
		f.links = lo.Uniq(append(f.links, "git+"+plain))
	default: // one of each host will do
		if !slices.ContainsFunc(f.links, func(l string) bool { return secret.Host(l) == secret.Host(plain) }) {
			f.links = append(f.links, plain)
		}
	}
}

// outside refuses URLs of files: what they hold is in no key.
func outside(link string) error {
	if strings.HasPrefix(link, "file:") {
		return fmt.Errorf("%s: packages of this host's folders can't be installed from a lock", shorten(link))
	}
	return nil
}

func (f *uvFile) inside(target string) error {
	if filepath.IsAbs(target) || !filepath.IsLocal(path.Join(f.where(), target)) {
		return fmt.Errorf("%s leads out of the repository", shorten(target))
	}
	return nil
}

var (
	pylockPath = regexp.MustCompile(`(?m)\bpath\s*=\s*["']([^"'\n]*)["']`)
	pylockURL  = regexp.MustCompile(`(?m)\burl\s*=\s*["']([^"'\n]*)["']`)
)

func (f *uvFile) readPylock(data []byte) error {
	if base := path.Base(f.project.File); base != ProjectPylock && !pylockName.MatchString(base) {
		return errors.New("its name must be pylock.toml or pylock.NAME.toml")
	}
	for _, m := range pylockURL.FindAllSubmatch(data, -1) {
		if err := outside(string(m[1])); err != nil {
			return err
		}
		f.from("url", string(m[1]))
	}
	for _, m := range pylockPath.FindAllSubmatch(data, -1) {
		f.local = true
		if err := f.inside(string(m[1])); err != nil {
			return err
		}
	}
	return nil
}
