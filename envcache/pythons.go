package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"agentctl/envcache/internal/secret"
	"agentctl/envcache/internal/talk"
	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/internal/tree"
)

// PythonWish says which interpreter is wanted, and what to do without it.
type PythonWish struct {
	Version   string // as Finder.Find takes it
	OnMissing string
	// Mirror has the interpreters that OnMissingInstall installs: an http, https or
	// file URL. Empty: UV_PYTHON_INSTALL_MIRROR of the agent, else uv's own source.
	Mirror string
}

// Python finds the interpreter for the environment of req, as Finder.Find does.
// With OnMissingInstall one that the host lacks is installed by uv into the state
// folder, for all users; uv itself comes from the indexes of req.
func (c *Cache) Python(ctx context.Context, w PythonWish, req Request, progress func(Progress)) (Interpreter, string, error) {
	if req.Root != nil {
		return c.pythonIn(ctx, w, req)
	}
	find := func() (Interpreter, string, error) {
		return c.finder.Find(ctx, w.Version, w.OnMissing, req.UID, req.GID)
	}
	py, note, err := find()
	missing := (*missingPython)(nil)
	if !errors.As(err, &missing) || w.OnMissing != OnMissingInstall {
		return py, note, err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	said, err := c.installPython(ctx, missing.wanted, w.Mirror, req, progress, func() bool {
		py, note, err = find()
		return err == nil
	})
	switch {
	case err != nil:
		return Interpreter{}, "", fmt.Errorf("%w; uv can't install it: %w", missing, err)
	case py.Path != "":
		return py, note, nil
	}
	if py, note, err = find(); err != nil {
		return Interpreter{}, "", fmt.Errorf("%w; uv installed what does not do: %s", err, said)
	}
	return py, note, nil
}

// installPython runs uv under a lock of all processes, unless found tells that
// another one was faster. It gives what uv said.
func (c *Cache) installPython(ctx context.Context, w wanted, mirror string, req Request, say func(Progress), found func() bool) (string, error) {
	a := newAccess(c.opts.Getenv, req, nil)
	uv, err := c.tools.get(ctx, ManagerUV, req, a, say)
	if err != nil {
		return "", err
	}
	dir := c.finder.installs
	if err := os.MkdirAll(dir, 0o755); err != nil { // tasks of other users run what is in it
		return "", err
	}
	defer c.board.Enter(ctx, dir)()
	l, err := fsx.WaitLock(ctx, filepath.Join(dir, pythonsLock))
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	if found() {
		return "", nil
	}
	if err := sweepPythons(dir); err != nil {
		return "", err
	}
	defer func() { _ = sweepPythons(dir) }()
	home := filepath.Join(dir, toolHome) // what is swept if this process dies
	if err := os.Mkdir(home, 0o700); err != nil {
		return "", err
	}
	cmd, err := c.pythonCommand(ctx, uv, w.String(), home, cmp.Or(mirror, c.opts.Getenv("UV_PYTHON_INSTALL_MIRROR")), a)
	if err != nil {
		return "", err
	}
	clean := func(l string) string { return secret.RedactURLs(a.secrets.Redact(l)) }
	lines := talk.NewLines(clean, func(l string) { say(Progress{Time: c.now(), Step: "python", Text: l}) })
	cmd.Stdout, cmd.Stderr = lines, lines
	exit, err := c.opts.Exec.Run(ctx, cmd)
	_ = lines.Close()
	said := strings.Join(lines.Tail(10), "\n    ")
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("exit status %d %s\n    %s", exit.Code, exit.Signal, said)
	}
	if err != nil {
		return "", err
	}
	crash.Point("python.installed")
	return said, markPythons(dir)
}

// pythonCommand is the run of uv. The mirror's URL may hold a secret: it goes to
// a private file.
func (c *Cache) pythonCommand(ctx context.Context, uv tool, version, home, mirror string, a *access) (Cmd, error) {
	plain, login := secret.SplitURL(mirror)
	a.secrets.Add(login)
	known, err := a.logins(ctx, plain)
	if err != nil {
		return Cmd{}, err
	}
	settings, err := toml.Marshal(struct {
		Mirror   string   `toml:"python-install-mirror,omitempty"`
		Insecure []string `toml:"allow-insecure-host,omitempty"`
	}{mirror, a.settings.trusted})
	if err != nil {
		return Cmd{}, err
	}
	config, netrc := filepath.Join(home, "uv.toml"), filepath.Join(home, ".netrc")
	for file, data := range map[string]string{config: string(settings), netrc: known.netrc} {
		if err := fsx.ReplaceFile(file, []byte(data), 0o600); err != nil {
			return Cmd{}, err
		}
	}
	env := append(CleanEnv(c.opts.Getenv, "HOME="+home, "NETRC="+netrc, "UV_PYTHON_DOWNLOADS=manual"), uvNetwork(c.opts.Getenv, a)...)
	if list := c.opts.Getenv("UV_PYTHON_DOWNLOADS_JSON_URL"); list != "" {
		env = append(env, "UV_PYTHON_DOWNLOADS_JSON_URL="+list)
	}
	return Cmd{
		Args: []string{
			uv.program("uv"), "python", "install", "--config-file", config, "--install-dir", c.finder.installs, "--no-bin", "--no-cache",
			"--compile-bytecode", version,
		},
		Env: env,
		Dir: "/", UID: SameUser, GID: SameUser,
	}, nil
}

// wholePrefix is of the marks beside installed interpreters. uv moves one to its
// place before it is done with it, so one without a mark is not whole.
const wholePrefix = ".whole-"

var installedPython = regexp.MustCompile(`^cpython-(3\.\d+\.\d+)[a-z0-9]*-[A-Za-z0-9_.-]+$`)

// installedPythons lists the interpreters that uv installed here, and those that
// it did not finish.
func installedPythons(dir string) (whole, broken []string, err error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	marked := func(name string) bool {
		return slices.ContainsFunc(files, func(f fs.DirEntry) bool { return f.Name() == wholePrefix+name })
	}
	for _, f := range files {
		switch {
		case !f.IsDir():
		case installedPython.MatchString(f.Name()) && marked(f.Name()):
			whole = append(whole, f.Name())
		default:
			broken = append(broken, f.Name())
		}
	}
	slices.Reverse(whole) // newer ones first
	return whole, broken, err
}

const pythonsLock = ".agentctl.lock"

// sweep removes what a dead process left, unless somebody is at it now.
func (f *Finder) sweep() error {
	if !isDir(f.installs) {
		return nil
	}
	l, err := fsx.TryLock(filepath.Join(f.installs, pythonsLock))
	if errors.Is(err, fsx.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	return sweepPythons(f.installs)
}

// sweepPythons removes what uv left of installations that did not end well, and
// its lock, which everybody could hold.
func sweepPythons(dir string) error {
	_, broken, err := installedPythons(dir)
	for _, name := range append(broken, ".lock", ".gitignore") {
		err = errors.Join(err, tree.Remove(filepath.Join(dir, name)))
	}
	return err
}

// markPythons makes the new interpreters readable and durable, then known.
func markPythons(dir string) error {
	_, fresh, err := installedPythons(dir)
	for _, name := range fresh {
		if !installedPython.MatchString(name) {
			continue
		}
		path := filepath.Join(dir, name)
		if err := errors.Join(tree.Publish(path, -1, -1), fsx.SyncAll(path)); err != nil {
			return err
		}
		if err := fsx.WriteFile(filepath.Join(dir, wholePrefix+name), nil, 0o644); err != nil {
			return err
		}
	}
	return err
}

// installed are the candidates in the state folder.
func (f *Finder) installed() []candidate {
	whole, _, err := installedPythons(f.installs)
	if err != nil {
		return nil
	}
	var all []candidate
	for _, name := range whole {
		version := installedPython.FindStringSubmatch(name)[1]
		all = append(all, inFolder(filepath.Join(f.installs, name, "bin"), versionHint(version))...)
	}
	return all
}

// reads are folders of the state that the interpreter of an environment is in:
// a task sees no others.
func (f *Finder) reads(py Interpreter) []string {
	rel, err := filepath.Rel(f.installs, py.BasePrefix)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return nil
	}
	first, _, _ := strings.Cut(rel, string(filepath.Separator))
	return []string{filepath.Join(f.installs, first)}
}
