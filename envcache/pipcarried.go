package envcache

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"agentctl/internal/fsx"
	"agentctl/internal/tree"
)

var wheelVersion = regexp.MustCompile(`^pip-([0-9][0-9A-Za-z.]*)-`)

// carried unpacks the pip that the interpreter brings: the wheel of ensurepip,
// or a copy of its own package.
func (t *pipTools) carried(ctx context.Context, py Interpreter) (pipTool, error) {
	if m := wheelVersion.FindStringSubmatch(filepath.Base(py.PipWheel)); m != nil && trusted(py.PipWheel) {
		data, err := os.ReadFile(py.PipWheel)
		if err != nil {
			return pipTool{}, err
		}
		dir := filepath.Join(t.dir, fmt.Sprintf("pip-%s-%x", m[1], sha256.Sum256(data))[:len("pip--")+len(m[1])+12])
		return pipTool{dir: dir, version: m[1]}, t.once(ctx, dir, func(tmp string) error { return unzip(data, tmp) })
	}
	init := filepath.Join(py.PipFolder, "pip", "__init__.py")
	if py.PipFolder == "" || !trusted(init) {
		return pipTool{}, fmt.Errorf("%s carries none (on Debian: apt-get install python3-venv)", py.Path)
	}
	data, err := os.ReadFile(init)
	if err != nil {
		return pipTool{}, err
	}
	m := regexp.MustCompile(`(?m)^__version__ = "([0-9][0-9A-Za-z.]*)"`).FindSubmatch(data)
	if m == nil {
		return pipTool{}, fmt.Errorf("%s tells no version", init)
	}
	dir := filepath.Join(t.dir, fmt.Sprintf("pip-%s-%x", m[1], sha256.Sum256([]byte(init)))[:len("pip--")+len(m[1])+12])
	return pipTool{dir: dir, version: string(m[1])}, t.once(ctx, dir, func(tmp string) error {
		return tree.Copy(ctx, filepath.Dir(init), filepath.Join(tmp, "pip"), -1, -1, nil)
	})
}

// compile makes the tool's bytecode for one interpreter, once. Without it each
// run of pip, here and in tasks, would compile what it imports anew: users that
// are not the agent can't write there.
func (t *pipTools) compile(ctx context.Context, tool pipTool, py Interpreter) error {
	if py.Root != "" { // it can't write there
		return nil
	}
	n := py.Numbers()
	done := filepath.Join(tool.dir, fmt.Sprintf(".compiled-%s-%d.%d", filepath.Base(py.Implementation), n[0], n[1]))
	if _, err := os.Stat(done); err == nil || !trusted(py.Path) {
		return nil
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	_, err = t.exec.Run(ctx, Cmd{
		Args: []string{py.Path, "-I", "-m", "compileall", "-q", "-j", "0", tool.dir},
		Env:  append(t.env[:len(t.env):len(t.env)], "HOME=/"), Dir: "/", UID: SameUser, GID: SameUser,
	})
	if err != nil {
		return err
	}
	if err := tree.Publish(tool.dir, -1, -1); err != nil {
		return err
	}
	// Some files of a pip never compile on some Pythons; that is no failure.
	return fsx.WriteFile(done, nil, 0o644)
}
