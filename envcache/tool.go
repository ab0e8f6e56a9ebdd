package envcache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/envcache/internal/secret"
	"agentctl/envcache/internal/talk"
	"agentctl/internal/tree"

	"agentctl/internal/fsx"
)

// locks holds, for each manager but pip, the tested version and all that it
// needs, with digests.
//
//go:embed locks/*.txt
var locks embed.FS

// product is a package manager as the index knows it.
type product struct {
	project string
	version string // the tested one, which locks/MANAGER.txt pins
	module  string // that `python -m` runs
	oldest  [3]int // Python that it runs on
	// inRoot: it runs on an interpreter of the root that it builds for, since it asks
	// that one what fits. The others run on one of the host, or on none.
	inRoot bool
}

var products = map[string]product{
	ManagerUV:     {"uv", "0.13.9", "uv", [3]int{3, 9, 0}, false},
	ManagerPoetry: {"poetry", "2.5.1", "poetry", [3]int{3, 10, 0}, true},
	ManagerConda:  {"py-rattler", "0.28.0", "rattler", [3]int{3, 10, 0}, false},
}

// tool is a package manager in a private environment of its own.
type tool struct {
	dir      string
	version  string
	identity string // stands in keys
}

// python is the interpreter that the tool runs on.
func (t tool) python() string { return filepath.Join(t.dir, "bin", "python") }

// program is a program that the tool brings.
func (t tool) program(name string) string { return filepath.Join(t.dir, "bin", name) }

// toolbox makes the private environments of package managers, each once for a
// state folder.
type toolbox struct {
	*pipTools
	finder *Finder
}

// named gives what a plan has to know of the manager. The manager itself may lack: a
// hit needs none, and a host without an index may have got its environments elsewhere.
func (t *toolbox) named(manager string, req Request) tool {
	p := products[manager]
	version := cmp.Or(req.Versions[manager], p.version)
	return tool{version: version, identity: p.project + "-" + version}
}

// get gives the manager in the version that the request asks for. It belongs to
// the agent, and the owner of the request's environment can run it.
func (t *toolbox) get(ctx context.Context, manager string, req Request, a *access, say func(Progress)) (tool, error) {
	p, out := products[manager], t.named(manager, req)
	version := out.version
	if !plain(version) {
		return tool{}, fmt.Errorf("%q is no version of %s", shorten(version), manager)
	}
	py, err := t.interpreter(ctx, p, req)
	if err != nil {
		return tool{}, fmt.Errorf("cannot have %s: %w", manager, err)
	}
	sum := sha256.Sum256([]byte(py.Path + "\n" + py.Build + py.Root))
	out.dir = filepath.Join(t.dir, fmt.Sprintf("%s-%s-%x", manager, version, sum[:6]))
	if isDir(out.dir) {
		return out, nil
	}
	pip, err := t.pipTools.get(ctx, py, a, say)
	if err != nil {
		return tool{}, fmt.Errorf("cannot have %s: %w", manager, err)
	}
	if err := t.compile(ctx, pip, py); err != nil {
		return tool{}, fmt.Errorf("cannot have %s: %w", manager, err)
	}
	start := t.now()
	list := p.project + "==" + version + "\n"
	if version == p.version {
		pinned, err := locks.ReadFile("locks/" + manager + ".txt")
		if err != nil {
			return tool{}, err
		}
		list = string(pinned)
	}
	err = t.once(ctx, out.dir, func(tmp string) error { return t.install(ctx, tmp, list, py, pip, a, req) })
	if err != nil {
		return tool{}, fmt.Errorf("cannot have %s %s: %w", manager, version, err)
	}
	say(Progress{Time: t.now(), Step: manager, Text: "fetched " + p.project + " " + version, Took: t.now().Sub(start)})
	return out, nil
}

// toolPythons are tried in this order for a tool.
var toolPythons = []string{"", "3.14", "3.13", "3.12", "3.11", "3.10"}

// interpreterIn finds the Python of another root that a tool runs on.
func (t *toolbox) interpreterIn(ctx context.Context, p product, req Request) (Interpreter, error) {
	found := []Interpreter{req.Python}
	for _, version := range toolPythons[1:] {
		py, err := t.finder.probes.probeIn(ctx, req.Root, "python"+version, req.UID, req.GID)
		if ctx.Err() != nil {
			return Interpreter{}, context.Cause(ctx)
		}
		if err == nil {
			found = append(found, py)
		}
	}
	for _, py := range found {
		if n := py.Numbers(); slices.Compare(n[:], p.oldest[:]) >= 0 {
			return py, nil
		}
	}
	return Interpreter{}, fmt.Errorf("%s %s needs Python %d.%d or newer, and the image has none; use pip, or another image", p.project, p.version, p.oldest[0], p.oldest[1])
}

// interpreter finds the Python that a tool runs on: the host's own, else any
// that is new enough. A root agent installs the tool as root, so no other user
// may be able to write that Python.
func (t *toolbox) interpreter(ctx context.Context, p product, req Request) (Interpreter, error) {
	if p.inRoot && req.Root != nil {
		return t.interpreterIn(ctx, p, req)
	}
	var failed error
	for _, want := range toolPythons {
		py, _, err := t.finder.Find(ctx, want, OnMissingFail, req.UID, req.GID)
		n := py.Numbers()
		if err == nil && slices.Compare(n[:], p.oldest[:]) >= 0 && trusted(py.Path) {
			return py, nil
		}
		failed = cmp.Or(failed, err)
	}
	if failed != nil {
		return Interpreter{}, failed
	}
	return Interpreter{}, fmt.Errorf("%s %s needs Python %d.%d or newer, and the host has none", p.project, p.version, p.oldest[0], p.oldest[1])
}

// toolHome is the home of who installs a tool. It holds logins.
const toolHome = ".home"

// install fills the folder tmp with an environment that holds what list names.
// Only wheels are taken: no code of a package runs with the agent's rights
// before the package is in its place.
//
// A tool on an interpreter of another root is installed there, as the owner of the
// request's environment, and serves that root alone.
func (t *toolbox) install(ctx context.Context, tmp, list string, py Interpreter, pip pipTool, a *access, req Request) error {
	home := filepath.Join(t.pipTools.dir, toolHome)
	if err := errors.Join(tree.Remove(home), os.Mkdir(home, 0o700)); err != nil {
		return err
	}
	defer func() { _ = tree.Remove(home) }()
	l, err := a.logins(ctx)
	if err != nil {
		return err
	}
	if strings.Contains(list, "--hash") {
		list = "--require-hashes\n" + list
	}
	text := strings.Join(append(a.settings.lines(), list), "\n")
	netrc, requirements := filepath.Join(home, ".netrc"), filepath.Join(home, "requirements.txt")
	for file, data := range map[string]string{netrc: l.netrc, requirements: text} {
		if err := fsx.ReplaceFile(file, []byte(data), 0o600); err != nil {
			return err
		}
	}
	run, cmd := t.exec, Cmd{Dir: "/", UID: SameUser, GID: SameUser}
	if py.Root != "" {
		run = gentle{req.Root.Exec}
		cmd.UID, cmd.GID, cmd.Writes, cmd.Reads = req.UID, req.GID, []string{tmp, home}, []string{pip.dir}
		if err := lend(req, tmp, home, netrc, requirements); err != nil {
			return err
		}
	}
	env := append(slices.Clone(t.env), "HOME="+home, "NETRC="+netrc, "PIP_CONFIG_FILE="+os.DevNull, "PYTHONUTF8=1")
	if len(a.settings.trusted) > 0 {
		env = append(env, "PIP_TRUSTED_HOST="+strings.Join(a.settings.trusted, " "))
	}
	if py.Root != "" {
		env = certified(env, home, func(name, text string) error { return fsx.ReplaceFile(filepath.Join(home, name), []byte(text), 0o644) })
	}
	python := filepath.Join(tmp, "bin", "python")
	for _, args := range [][]string{
		{py.Path, "-I", "-m", "venv", "--without-pip", tmp},
		{
			python, "-I", pip.program(), "install", "--no-input", "--no-color", "--disable-pip-version-check", "--no-warn-script-location",
			"--only-binary", ":all:", "--no-compile", "--no-cache-dir", "--progress-bar", "off", "-r", requirements,
		},
		{python, "-I", "-m", "compileall", "-qq", "-j", "0", filepath.Join(tmp, "lib")},
	} {
		lines := talk.NewLines(func(l string) string { return secret.RedactURLs(a.secrets.Redact(l)) }, nil)
		cmd.Args, cmd.Env, cmd.Stdout, cmd.Stderr = args, env, lines, lines
		exit, err := run.Run(ctx, cmd)
		_ = lines.Close()
		if compiling := slices.Contains(args, "compileall"); err != nil || exit.Code != 0 && !compiling {
			return newBuildError(filepath.Base(args[len(args)-1]), exit, err, lines.Tail(10), py.Version)
		}
	}
	if py.Root != "" {
		return tree.Publish(tmp, os.Geteuid(), os.Getegid())
	}
	return nil
}

// lend gives files to the owner of a request's environment.
func lend(req Request, files ...string) error {
	if !switches(req.UID) {
		return nil
	}
	for _, f := range files {
		if err := os.Lchown(f, req.UID, req.GID); err != nil {
			return err
		}
	}
	return nil
}
