package envcache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// ManagerAuto stands for the manager that the files of the repository call for.
const ManagerAuto = "auto"

// mostProjectFile is the largest file of a repository that is read to learn what
// packages it needs.
const mostProjectFile = 32 << 20

// Detect finds what in a repository says which packages a task needs, and the
// manager that understands it. base is the repository, dir the working folder in
// it and script the program there. A header in the script counts first (PEP 723);
// then, if rootFirst, the files in base, as for clearml-agent; then the nearest folder,
// from dir up to base, that has a file for the manager.
// With ManagerAuto any manager may win, in the order poetry, uv, conda, pylock;
// with another only its own files count. Nothing found is a zero Project: the
// task's requirements are what is asked for, by default of pip.
//
// A poetry project may be without a lock: then File is its pyproject.toml.
func Detect(base, dir, script, manager string, rootFirst bool) (Project, string, error) {
	if manager == "" {
		manager = ManagerPip
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return Project{}, "", fmt.Errorf("cannot look for the project's packages: %w", err)
	}
	defer func() { _ = root.Close() }()
	p, found, err := detection{root, manager, rootFirst}.find(path.Clean(filepath.ToSlash(dir)), script)
	switch {
	case err != nil:
		return Project{}, "", fmt.Errorf("cannot look for the project's packages: %w", err)
	case manager != ManagerAuto:
		found = manager
	case p == Project{}:
		found = ManagerPip
	}
	return p, found, nil
}

type detection struct {
	root      *os.Root
	manager   string
	rootFirst bool
}

func (d detection) find(dir, script string) (Project, string, error) {
	if !filepath.IsLocal(dir) {
		return Project{}, "", fmt.Errorf("the working folder %q leads out of the repository", shorten(dir))
	}
	if file := path.Join(dir, script); d.wants(ManagerUV) && strings.HasSuffix(script, ".py") && filepath.IsLocal(file) {
		data, err := readLimited(d.root, file, mostScript)
		if err == nil && hasHeader(data) {
			return Project{ProjectScript, file}, ManagerUV, nil
		}
		// Whoever starts the script says best what is wrong with it.
	}
	if d.rootFirst && dir != "." {
		if p, manager, err := d.folder("."); err != nil || p != (Project{}) {
			return p, manager, err
		}
	}
	for {
		p, manager, err := d.folder(dir)
		if err != nil || p != (Project{}) || dir == "." {
			return p, manager, err
		}
		dir = path.Dir(dir)
	}
}

func (d detection) wants(manager string) bool {
	return d.manager == manager || d.manager == ManagerAuto
}

// folder looks at one folder.
func (d detection) folder(dir string) (Project, string, error) {
	for _, f := range []struct {
		name, kind, manager string
		project             bool // means nothing without pyproject.toml
	}{
		{"poetry.lock", ProjectPoetry, ManagerPoetry, true},
		{"uv.lock", ProjectUV, ManagerUV, true},
		{"environment.yml", ProjectConda, ManagerConda, false},
		{"environment.yaml", ProjectConda, ManagerConda, false},
		{"pylock.toml", ProjectPylock, ManagerUV, false},
	} {
		if !d.wants(f.manager) {
			continue
		}
		found, err := d.has(path.Join(dir, f.name))
		if found && f.project && err == nil {
			found, err = d.has(path.Join(dir, pyprojectFile))
		}
		if found || err != nil {
			return Project{f.kind, path.Join(dir, f.name)}, f.manager, err
		}
	}
	if d.wants(ManagerUV) {
		if name, err := d.namedPylock(dir); name != "" || err != nil {
			return Project{ProjectPylock, path.Join(dir, name)}, ManagerUV, err
		}
	}
	if d.manager == ManagerPoetry {
		return d.unlocked(dir)
	}
	return Project{}, "", nil
}

// has tells whether a file is there. What is no plain file, or leads out of the
// repository, is an error: a list taken in its place would surprise.
func (d detection) has(name string) (bool, error) {
	info, err := d.root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%s is no file", name)
	}
	return true, nil
}

var pylockName = regexp.MustCompile(`^pylock\.[^.]+\.toml$`)

// namedPylock gives the pylock.NAME.toml of a folder if there is just one.
func (d detection) namedPylock(dir string) (string, error) {
	const mostFiles = 10_000
	f, err := d.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	files, err := f.Readdirnames(mostFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	found := ""
	for _, name := range files {
		switch {
		case !pylockName.MatchString(name):
		case found != "":
			return "", nil
		default:
			found = name
		}
	}
	if found == "" {
		return "", nil
	}
	if ok, err := d.has(path.Join(dir, found)); !ok || err != nil {
		return "", err
	}
	return found, nil
}

// unlocked takes a project that poetry can resolve.
func (d detection) unlocked(dir string) (Project, string, error) {
	p, _, err := readPyproject(d.root, dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return Project{}, "", nil
	}
	if err != nil || p.at("project") == nil && p.at("tool", "poetry") == nil {
		return Project{}, "", err
	}
	return Project{ProjectPoetry, path.Join(dir, pyprojectFile)}, ManagerPoetry, nil
}
