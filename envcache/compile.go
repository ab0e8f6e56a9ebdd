package envcache

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
)

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

// compileFiles makes the bytecode of some files of the environment.
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
	err := s.run(ctx, "compile", Cmd{
		Args: append([]string{filepath.Join(s.path, "bin", "python"), "-I", "-m", "compileall", "-q", "-j", "0"}, what...),
		Dir:  s.work, Env: []string{"PATH=" + defaultPath, "LANG=C.UTF-8", "HOME=" + filepath.Join(s.work, "home"), "TMPDIR=" + filepath.Join(s.work, "tmp")},
	})
	var failed *BuildError
	if errors.As(err, &failed) && failed.Err == nil && failed.Exit.Code == 1 && len(failed.Lines) == 0 {
		return nil
	}
	return err
}

// refused is how compileall tells of a full or broken disk (EIO, ENOSPC, EROFS,
// EDQUOT), among what it says of files that are no Python of this version.
var refused = regexp.MustCompile(`^OSError: \[Errno (5|28|30|122)\] `)
