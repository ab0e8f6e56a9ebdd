package envcache

import (
	"context"
	"crypto/x509"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"agentctl/internal/crash"
	"agentctl/internal/tree"
)

// uvRun is uv at work in one site.
type uvRun struct {
	s    *site
	p    *uvPlan
	env  []string
	home string
	dir  string // where relative paths start
}

// uvSettings is the uv.toml of a build. uv reads no other one.
type uvSettings struct {
	Indexes   []uvIndex `toml:"index,omitempty"`
	NoIndex   bool      `toml:"no-index,omitempty"`
	FindLinks []string  `toml:"find-links,omitempty"`
	Strategy  string    `toml:"index-strategy"`
}

type uvIndex struct {
	URL     string   `toml:"url"`
	Default bool     `toml:"default,omitempty"`
	Cache   *uvFresh `toml:"cache-control,omitempty"`
}

type uvFresh struct {
	API   string `toml:"api"`
	Files string `toml:"files"`
}

const (
	askConfig  = "uv.toml"        // asks the indexes
	justConfig = "uv-locked.toml" // they were asked just now
)

// open prepares all that uv reads, before any program of the build runs.
func (b *uvBuilder) open(ctx context.Context, s *site, p *uvPlan) (*uvRun, error) {
	u := &uvRun{s: s, p: p, home: filepath.Join(s.work, "home"), dir: s.work}
	cache, err := s.downloads(ManagerUV)
	if err != nil {
		return nil, err
	}
	links := p.list.links
	if p.file != nil {
		links = slices.Concat(p.file.registry, p.file.links)
	}
	if err := s.unlock(ctx, p.access, links...); err != nil {
		return nil, err
	}
	settings := p.options.settings(s.req.Python)
	for i, f := range settings.FindLinks {
		if !strings.Contains(f, "://") && !filepath.IsAbs(f) {
			settings.FindLinks[i] = filepath.Join(s.path, checkout, f)
		}
	}
	for _, name := range []string{askConfig, justConfig} {
		text, err := toml.Marshal(settings)
		if err != nil {
			return nil, err
		}
		if err := s.private(u.home, name, string(text)); err != nil {
			return nil, err
		}
		for i := range settings.Indexes { // for the second file
			settings.Indexes[i].Cache = &uvFresh{"max-age=86400", "max-age=31536000, immutable"}
		}
	}
	u.env = s.env(b.getenv, p.access, append(
		uvNetwork(b.getenv, p.access, p.options.trusted...), "UV_CACHE_DIR="+cache, "UV_PYTHON_DOWNLOADS=never", "UV_LINK_MODE="+linkMode(cache, s.work), "UV_KEYRING_PROVIDER=disabled",
		"UV_PREVIEW_FEATURES=pylock", "UV_NO_WRAP=1", "NO_COLOR=1", uvLog, "XDG_CONFIG_DIRS="+filepath.Join(s.work, "xdg"),
	)...)
	return u, nil
}

// linkMode is how uv brings files of its cache into an environment. Hard links are
// out of the question: what a task writes would change the cache. uv takes them as
// well where it is to clone and can't, so that is tried before.
func linkMode(cache, work string) string {
	if tree.Clones(cache, work) {
		return "clone"
	}
	return "copy"
}

var number = regexp.MustCompile(`^\d{1,5}$`)

// uvNetwork tells uv whom to trust and how patient to be, as pip is told on this host.
func uvNetwork(getenv func(string) string, a *access, trusted ...string) []string {
	var env []string
	if pool, err := x509.SystemCertPool(); err == nil && !pool.Equal(x509.NewCertPool()) {
		env = append(env, "UV_SYSTEM_CERTS=1") // else what uv itself brings
	}
	if a.settings.cert != "" {
		env = append(env, "SSL_CERT_FILE="+a.settings.cert)
	}
	if hosts := append(slices.Clone(a.settings.trusted), trusted...); len(hosts) > 0 {
		env = append(env, "UV_INSECURE_HOST="+strings.Join(hosts, " "))
	}
	for from, to := range map[string]string{"PIP_RETRIES": "UV_HTTP_RETRIES", "PIP_DEFAULT_TIMEOUT": "UV_HTTP_TIMEOUT"} {
		if v := getenv(from); number.MatchString(v) {
			env = append(env, to+"="+v)
		}
	}
	if v := getenv("PIP_PROXY"); v != "" {
		env = append(env, "ALL_PROXY="+v)
	}
	return env
}

// run runs uv. Standard input and output are given where they are used.
func (u *uvRun) run(ctx context.Context, step string, in io.Reader, out io.Writer, args ...string) error {
	return u.s.run(ctx, step, Cmd{
		Args: append([]string{u.p.uv.program("uv")}, args...), Dir: u.dir, Env: u.env, Stdin: in, Stdout: out,
	})
}

func (u *uvRun) config(name string) string { return filepath.Join(u.home, name) }

func (u *uvRun) python() string { return filepath.Join(u.s.path, "bin", "python") }

// install runs `uv pip install` into the environment.
func (u *uvRun) install(ctx context.Context, step, config string, in io.Reader, args ...string) error {
	return u.run(ctx, step, in, nil, append([]string{
		"pip", "install", "--config-file", u.config(config), "--python", u.python(),
	}, args...)...)
}

// venv makes the bare environment, with the private pip.
func (u *uvRun) venv(ctx context.Context) error {
	args := []string{"venv", "--no-config", "--no-project", "--quiet", "--python", u.s.req.Python.Path}
	if u.s.req.SystemSite {
		args = append(args, "--system-site-packages")
	}
	if err := u.run(ctx, "venv", nil, nil, append(args, u.s.path)...); err != nil {
		return err
	}
	crash.Point("env.venv")
	return installTool(u.s, u.p.tool, u.p.settings)
}

// copyCheckout gives the build a copy of the repository to write into, which
// stays where packages are used from it.
func (u *uvRun) copyCheckout(ctx context.Context) error {
	u.dir = filepath.Join(u.s.path, checkout)
	if err := u.s.mkdir("src"); err != nil {
		return err
	}
	return tree.Copy(ctx, u.s.req.BaseDir, u.dir, u.s.uid, u.s.gid, nil)
}
