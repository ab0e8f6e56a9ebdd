package envcache

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"

	"agentctl/envcache/internal/shelf"
	"agentctl/envcache/internal/tree"
	"agentctl/envcache/internal/urgency"
)

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
	err := s.onCores(ctx, func(ctx context.Context, cores string) error {
		return s.compiler(ctx, append([]string{"-m", "compileall", "-q", "-j", cores}, what...)...)
	})
	var failed *BuildError
	if errors.As(err, &failed) && failed.Err == nil && failed.Exit.Code == 1 && len(failed.Lines) == 0 {
		err = nil
	}
	if err != nil {
		return err
	}
	return s.reread(ctx)
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
	if err := dropParts(filepath.Join(s.path, "lib")); err != nil {
		return err
	}
	return compile(ctx, "0")
}

// reread fails if bytecode was cut short by a full disk.
func (s *site) reread(ctx context.Context) error {
	if shelf.Free(s.path) > tight {
		return nil
	}
	return s.compiler(ctx, "-c", rereadBytecode, filepath.Join(s.path, "lib"))
}

// compiler runs the environment's Python without the settings of anybody.
func (s *site) compiler(ctx context.Context, args ...string) error {
	return s.run(ctx, compileStep, Cmd{
		Args: append([]string{filepath.Join(s.path, "bin", "python"), "-I"}, args...),
		Dir:  s.work, Env: []string{"PATH=" + defaultPath, "LANG=C.UTF-8", "HOME=" + filepath.Join(s.work, "home"), "TMPDIR=" + filepath.Join(s.work, "tmp")},
	})
}

// refused is how compileall tells of a full or broken disk (EIO, ENOSPC, EROFS,
// EDQUOT), among what it says of files that are no Python of this version.
var refused = regexp.MustCompile(`^OSError: \[Errno (5|28|30|122)\] `)

// tight is the room on the disk below which bytecode is read again. Python does not
// notice when only the first part of a file was written, and no task could import it.
const tight = 512 << 20

const rereadBytecode = `import importlib.util, marshal, os, sys
end = "." + sys.implementation.cache_tag + ".pyc"
for folder, _, files in os.walk(sys.argv[1]):
    for name in files:
        if name.endswith(end):
            path = os.path.join(folder, name)
            with open(path, "rb") as f:
                data = f.read()
            try:
                if data[:4] == importlib.util.MAGIC_NUMBER[:len(data)]:
                    marshal.loads(data[16:])
            except (EOFError, ValueError, TypeError):
                sys.exit("OSError: [Errno 28] No space left on device: " + path + " was cut short")
`

// halfWritten is the name of a file that Python renames when it is whole.
var halfWritten = regexp.MustCompile(`\.pyc\.\d+$`)

// dropParts removes what a compiler that was ended left.
func dropParts(dir string) error {
	return tree.Walk(dir, func(n tree.Node) error {
		if n.Info.Mode().IsRegular() && halfWritten.MatchString(n.Name) {
			return n.Dir.Remove(n.Name)
		}
		return nil
	}, nil)
}
