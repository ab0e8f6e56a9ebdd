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
}

var products = map[string]product{
	ManagerUV:     {"uv", "0.13.9", "uv", [3]int{3, 9, 0}},
	ManagerPoetry: {"poetry", "2.5.1", "poetry", [3]int{3, 10, 0}},
	ManagerConda:  {"py-rattler", "0.28.0", "rattler", [3]int{3, 10, 0}},
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
	sum := sha256.Sum256([]byte(py.Path + "\n" + py.Build))
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
	err = t.once(ctx, out.dir, func(tmp string) error { return t.install(ctx, tmp, list, py, pip, a) })
	if err != nil {
		return tool{}, fmt.Errorf("cannot have %s %s: %w", manager, version, err)
	}
	say(Progress{Time: t.now(), Step: manager, Text: "fetched " + p.project + " " + version, Took: t.now().Sub(start)})
	return out, nil
}

// interpreter finds the Python that a tool runs on: the host's own, else any
// that is new enough. A root agent installs the tool as root, so no other user
// may be able to write that Python.
func (t *toolbox) interpreter(ctx context.Context, p product, req Request) (Interpreter, error) {
	var failed error
	for _, want := range []string{"", "3.14", "3.13", "3.12", "3.11", "3.10"} {
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
func (t *toolbox) install(ctx context.Context, tmp, list string, py Interpreter, pip pipTool, a *access) error {
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
	env := append(slices.Clone(t.env), "HOME="+home, "NETRC="+netrc, "PIP_CONFIG_FILE="+os.DevNull, "PYTHONUTF8=1")
	if len(a.settings.trusted) > 0 {
		env = append(env, "PIP_TRUSTED_HOST="+strings.Join(a.settings.trusted, " "))
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
		exit, err := t.exec.Run(ctx, Cmd{Args: args, Dir: "/", Env: env, UID: SameUser, GID: SameUser, Stdout: lines, Stderr: lines})
		_ = lines.Close()
		if compiling := slices.Contains(args, "compileall"); err != nil || exit.Code != 0 && !compiling {
			return newBuildError(filepath.Base(args[len(args)-1]), exit, err, lines.Tail(10), py.Version)
		}
	}
	return nil
}
