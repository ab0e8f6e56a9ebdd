package envcache

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"

	"agentctl/envcache/internal/urgency"

	"github.com/samber/lo"
)

//go:embed compile.py
var compileScript string

// compileStep is the name of the step that site.run is given.
const compileStep = "compile"

// compile makes the bytecode of all packages, once and on all cores: each task
// would do it anew in its own layer, at three times the cost of an import.
// What does not compile, as templates and Python 2 code, stays as it is.
func (s *site) compile(ctx context.Context) error {
	sites, err := sitePackages(s.root)
	if err != nil {
		return err
	}
	return s.compileTree(ctx, sites)
}

// compileTree does it for a folder of the environment.
func (s *site) compileTree(ctx context.Context, dir string) error {
	return s.compileall(ctx, filepath.Join(s.path, dir))
}

// compileFiles does it for some files of the environment.
func (s *site) compileFiles(ctx context.Context, files []string) error {
	var list strings.Builder
	for _, f := range files {
		if !strings.ContainsAny(f, "\r\n") { // the list has a line for each
			list.WriteString(filepath.Join(s.path, f) + "\n")
		}
	}
	if err := s.private(s.work, "sources.txt", list.String()); err != nil {
		return err
	}
	return s.compileall(ctx, "-i", filepath.Join(s.work, "sources.txt"))
}

func (s *site) compileall(ctx context.Context, what ...string) error {
	return s.onCores(ctx, func(ctx context.Context, cores string) error {
		return s.run(ctx, compileStep, Cmd{
			Args: append([]string{filepath.Join(s.path, "bin", "python"), "-I", "-W", "ignore", "-c", compileScript, cores}, what...),
			Dir:  s.work, Env: []string{"PATH=" + defaultPath, "LANG=C.UTF-8", "HOME=" + filepath.Join(s.work, "home"), "TMPDIR=" + filepath.Join(s.work, "tmp")},
		})
	})
}

// onCores runs a compiler on all cores ("0"). In the background it takes one:
// threads of a core slow each other down, whatever their priorities. Once somebody
// waits, all cores do what is left.
func (s *site) onCores(ctx context.Context, compile func(ctx context.Context, cores string) error) error {
	l := urgency.Of(ctx)
	if l.Lifted() {
		return compile(ctx, "0")
	}
	half, stop := l.Until(ctx)
	err := compile(half, "1")
	stop()
	if err == nil || ctx.Err() != nil || !l.Lifted() {
		return err
	}
	return compile(ctx, "0")
}

// CompileModules is the command line that makes the bytecode of the modules that i brings,
// on one core, beside their sources. What has its bytecode, and what does not compile,
// stays as it is.
func (i Interpreter) CompileModules() []string {
	n := i.Numbers()
	library := filepath.Join(i.BasePrefix, "lib", fmt.Sprintf("python%d.%d", n[0], n[1]))
	folders := append([]string{library}, lo.Reject(i.Sites, func(site string, _ int) bool { return strings.HasPrefix(site, library+"/") })...)
	return append([]string{i.Path, "-I", "-W", "ignore", "-c", compileScript, "1"}, folders...)
}
