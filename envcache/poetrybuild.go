package envcache

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
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
	"agentctl/internal/tree"
)

//go:embed poetry.py
var poetryScript string

// poetrySettings are what poetry.py is told.
type poetrySettings struct {
	Indexes  []string `json:"indexes"`  // where pip would look; empty: poetry's own
	Trusted  []string `json:"trusted"`  // hosts whose certificates are not checked
	Report   string   `json:"report"`   // file for what is going to be installed
	Archives string   `json:"archives"` // file for where its files are, by digest
	Links    string   `json:"links"`    // folder that remembers downloads
	Sources  string   `json:"sources"`  // stands for all indexes of the project
}

func (b *poetryBuilder) build(ctx context.Context, s *site, p *poetryPlan) error {
	if err := b.tools.compile(ctx, p.pip, s.req.Python); err != nil {
		return err
	}
	if err := s.venv(ctx); err != nil {
		return err
	}
	if err := installTool(s, p.pip, p.settings); err != nil {
		return fmt.Errorf("cannot put pip into the environment: %w", err)
	}
	dir, err := p.place(ctx, s)
	if err != nil {
		return err
	}
	if err := s.unlock(ctx, p.access, p.links()...); err != nil {
		return err
	}
	lock := p.lock
	if lock == nil {
		if lock, err = b.resolve(ctx, s, p, dir); err != nil {
			return err
		}
	}
	if err := b.install(ctx, s, p, dir); err != nil {
		return err
	}
	if err := s.clearSources(developing.Match(lock)); err != nil {
		return err
	}
	return s.compile(ctx)
}

// resolve makes the lock that the repository lacks.
func (b *poetryBuilder) resolve(ctx context.Context, s *site, p *poetryPlan, dir string) ([]byte, error) {
	if err := b.run(ctx, s, p, dir, "", "lock"); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return readLimited(root, poetryLockFile, mostLockFile)
}

// place makes the folder that poetry works in: a copy of the project's files, or
// of the whole repository if packages of it get installed. Poetry writes there, and
// the checkout that tasks share must not change.
func (p *poetryPlan) place(ctx context.Context, s *site) (string, error) {
	config, err := toml.Marshal(p.config)
	if err != nil {
		return "", err
	}
	if p.local {
		return filepath.Join(s.path, checkout, p.dir), p.copyRepository(ctx, s, string(config))
	}
	files := map[string]string{pyprojectFile: string(p.pyproject), poetryConfig: string(config)}
	if p.lock != nil {
		files[poetryLockFile] = string(p.lock)
	}
	dir := filepath.Join(s.work, "project")
	err = s.scratch("project")
	for name, text := range files {
		if err == nil {
			err = s.private(dir, name, text)
		}
	}
	return dir, err
}

func (p *poetryPlan) copyRepository(ctx context.Context, s *site, config string) error {
	if err := s.mkdir("src"); err != nil {
		return err
	}
	if err := tree.Copy(ctx, s.req.BaseDir, filepath.Join(s.path, checkout), s.uid, s.gid, nil); err != nil {
		return err
	}
	file := filepath.Join(checkout, p.dir, poetryConfig)
	if err := s.root.RemoveAll(file); err != nil { // it may be a link
		return err
	}
	return s.write(file, config, 0o644)
}

// install runs `poetry install`. What it is going to install is told as soon as
// poetry knows it, by its lock where the files of the repository are among it.
func (b *poetryBuilder) install(ctx context.Context, s *site, p *poetryPlan, dir string) error {
	args := []string{"install", "--no-root"}
	switch {
	case slices.Contains(p.groups, "*"):
		args = append(args, "--all-groups")
	default:
		args = append(args, "--only="+strings.Join(append([]string{mainGroup}, p.groups...), ","))
	}
	switch {
	case slices.Contains(p.extras, "*"):
		args = append(args, "--all-extras")
	default:
		args = append(args, lo.Map(p.extras, func(e string, _ int) string { return "--extras=" + e })...)
	}
	if p.local {
		if p.lock != nil {
			l := Lock{Manager: ManagerPoetry, Python: s.req.Python.Version, File: p.lockName(), SHA256: p.lockSum()}
			if err := s.locked(ctx, l); err != nil {
				return err
			}
		}
		return b.run(ctx, s, p, dir, "", args...)
	}
	over := Lock{Manager: ManagerPoetry, Python: s.req.Python.Version}
	for _, source := range p.sources() {
		if plain, _ := secret.SplitURL(source.url); plain != "" {
			over.Indexes = append(over.Indexes, "--extra-index-url "+oneLine(plain))
		}
	}
	err := s.reported(ctx, reportWatch{file: pipReport, over: over}, func(ctx context.Context) error {
		return b.run(ctx, s, p, dir, filepath.Join(s.work, "home", pipReport), args...)
	})
	if err == nil {
		s.keepArchives()
	}
	return err
}

// run runs the private poetry on the folder dir.
func (b *poetryBuilder) run(ctx context.Context, s *site, p *poetryPlan, dir, report string, args ...string) error {
	home := filepath.Join(s.work, "home")
	tool, err := b.tools.get(ctx, ManagerPoetry, s.req, p.access, s.tell)
	if err != nil {
		return err
	}
	cache, err := s.downloads(ManagerPoetry)
	if err != nil {
		return err
	}
	settings, err := json.Marshal(p.told(s, cache, report))
	if err != nil {
		return err
	}
	if err := errors.Join(s.private(home, "poetry.py", poetryScript), s.private(home, "poetry.json", string(settings))); err != nil {
		return err
	}
	args = append([]string{
		tool.python(), "-I", filepath.Join(home, "poetry.py"), filepath.Join(home, "poetry.json"),
		"--no-interaction", "--no-ansi", "--no-plugins",
	}, args...)
	env := s.env(b.getenv, p.access,
		"POETRY_CONFIG_DIR="+filepath.Join(home, "poetry"), "POETRY_HOME="+filepath.Join(home, "poetry"), "POETRY_CACHE_DIR="+cache,
		"POETRY_VIRTUALENVS_CREATE=false", "POETRY_VIRTUALENVS_IN_PROJECT=false",
		"POETRY_KEYRING_ENABLED=false", "PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring",
		// The git of the host, with the settings and logins that it has for pip too.
		"POETRY_SYSTEM_GIT_CLIENT=true", "POETRY_EXPERIMENTAL_SYSTEM_GIT_CLIENT=true",
		"POETRY_REQUESTS_MAX_RETRIES=3", "PYTHONUNBUFFERED=1",
	)
	if wait := b.getenv("PIP_DEFAULT_TIMEOUT"); wait != "" {
		env = append(env, "POETRY_REQUESTS_TIMEOUT="+wait)
	}
	if p.settings.cert != "" {
		env = append(env, "REQUESTS_CA_BUNDLE="+p.settings.cert)
	}
	err = s.run(ctx, ManagerPoetry, Cmd{Args: args, Dir: dir, Env: env})
	var failed *BuildError
	if errors.As(err, &failed) {
		failed.Cause = cmp.Or(poetryCause(failed, s.req.Python), failed.Cause)
	}
	return err
}

func (p *poetryPlan) told(s *site, cache, report string) poetrySettings {
	usual := cmp.Or(defaultIndex(s.req.Python), defaultIndex(Interpreter{PipFolder: p.pip.dir})) // the pip of an image can't be read
	indexes := lo.Compact(append([]string{cmp.Or(p.settings.index, usual)}, p.settings.extra...))
	all := slices.Concat(indexes, lo.Map(p.sources(), func(s poetrySource, _ int) string { return s.name + " " + s.url }))
	sum := sha256.Sum256([]byte(strings.Join(all, "\n")))
	return poetrySettings{
		Indexes: indexes, Trusted: p.settings.trusted, Report: report,
		Archives: filepath.Join(s.work, "home", poetryArchives), Links: filepath.Join(cache, "links"), Sources: hex.EncodeToString(sum[:8]),
	}
}

var developing = regexp.MustCompile(`(?m)^\s*develop\s*=\s*true`)

// clearSources removes the sources that packages were built from. Those that are
// used where they lie stay, without their repositories: only version numbers come
// from these, and they may hold credentials.
func (s *site) clearSources(used bool) error {
	if !used {
		return s.root.RemoveAll("src")
	}
	sources, err := fs.ReadDir(s.root.FS(), "src")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, d := range sources {
		err = errors.Join(err, s.root.RemoveAll("src/"+d.Name()+"/.git"))
	}
	return err
}
