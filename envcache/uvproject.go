package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// project installs what uv.lock says. Its settings are those of the project: its
// pyproject.toml and uv.toml, no others.
func (u *uvRun) project(ctx context.Context) error {
	if err := u.venv(ctx); err != nil {
		return err
	}
	dir, err := u.projectDir(ctx, pyprojectFile, path.Base(u.p.file.project.File), uvOwn)
	if err != nil {
		return err
	}
	if err := u.shield(); err != nil {
		return err
	}
	if err := u.s.locked(ctx, u.fileLock()); err != nil {
		return err
	}
	wanted := slices.Concat(
		[]string{"--locked", "--no-default-groups", "--project", dir, "--python", u.s.req.Python.Path},
		selected("group", u.s.req.Groups), selected("extra", u.s.req.Extras),
	)
	if u.mirrored() {
		return u.export(ctx, wanted)
	}
	u.env = append(u.env, "UV_PROJECT_ENVIRONMENT="+u.s.path)
	return u.run(ctx, ManagerUV, nil, nil, append([]string{"sync", "--no-install-project"}, wanted...)...)
}

// selected are the arguments for groups or extras.
func selected(what string, names []string) []string {
	if slices.Contains(names, "*") {
		return []string{"--all-" + what + "s"}
	}
	var args []string
	for _, n := range sorted(names) {
		args = append(args, "--"+what+"="+n)
	}
	return args
}

// projectDir is the project as uv is to see it: files alone, or where packages
// come from the repository a copy of all of it.
func (u *uvRun) projectDir(ctx context.Context, names ...string) (string, error) {
	f := u.p.file
	if f.local {
		err := u.copyCheckout(ctx)
		return filepath.Join(u.dir, f.where()), err
	}
	dir := filepath.Join(u.s.work, "project")
	if err := u.s.scratch("project"); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(u.s.req.BaseDir)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	for _, name := range names {
		data, err := readLimited(root, path.Join(f.where(), name), mostProjectFile)
		if errors.Is(err, fs.ErrNotExist) && name == uvOwn {
			continue
		}
		if err != nil {
			return "", err
		}
		if name == path.Base(f.project.File) && plainDigest(data) != f.sha256 {
			return "", fmt.Errorf("%s changed while it was read", f.project.File)
		}
		if err := u.s.private(dir, name, string(data)); err != nil {
			return "", err
		}
	}
	u.dir = dir
	return dir, nil
}

// shield keeps settings of the host and of the folders above from uv, which looks
// for them there.
func (u *uvRun) shield() error {
	for _, dir := range []string{"xdg", "xdg/uv"} {
		if err := u.s.scratch(dir); err != nil {
			return err
		}
	}
	if err := u.s.private(filepath.Join(u.s.work, "xdg/uv"), uvOwn, ""); err != nil {
		return err
	}
	if u.p.file.local { // tidy removes it
		return u.s.write(path.Dir(checkout)+"/"+uvOwn, "", 0o644)
	}
	return u.s.private(u.s.work, uvOwn, "")
}

func (u *uvRun) fileLock() Lock {
	f := u.p.file
	return Lock{Manager: ManagerUV, Python: u.s.req.Python.Version, File: f.project.File, SHA256: f.sha256, Built: f.local}
}

// mirrored tells that the operator names an index other than the one of the lock,
// while the project names none: a mirror, where the lock's own links may not be
// reachable. The hashes of the lock tell whether its packages are the same.
func (u *uvRun) mirrored() bool {
	main, r := trimSlash(u.p.settings.index), u.p.file.registry
	return main != "" && !u.p.file.indexed && len(r) == 1 && trimSlash(r[0]) != main
}

// export installs the packages of the lock from the operator's indexes.
func (u *uvRun) export(ctx context.Context, wanted []string) error {
	out := &limited{most: mostReport}
	err := u.run(ctx, ManagerUV, nil, out, append([]string{
		"export", "--format", "requirements.txt", "--no-emit-project", "--no-header", "--no-annotate",
	}, wanted...)...)
	if err != nil {
		return err
	}
	u.s.say(ManagerUV, "taking the packages of the lock from "+u.p.settings.index)
	return u.install(ctx, uvInstall, askConfig, strings.NewReader(out.String()), "--no-deps", "--requirements", "-")
}

// pylock installs a pylock.toml.
func (u *uvRun) pylock(ctx context.Context) error {
	if err := u.venv(ctx); err != nil {
		return err
	}
	name := path.Base(u.p.file.project.File)
	dir, err := u.projectDir(ctx, name)
	if err != nil {
		return err
	}
	if err := u.s.locked(ctx, u.fileLock()); err != nil {
		return err
	}
	groups, err := u.pylockGroups()
	if err != nil {
		return err
	}
	return u.install(ctx, ManagerUV, askConfig, nil, slices.Concat(
		[]string{"--requirements", filepath.Join(dir, name)}, selected("group", groups), selected("extra", u.s.req.Extras),
	)...)
}

// pylockGroups names the groups one by one: for a pylock.toml uv knows no word
// for all of them.
func (u *uvRun) pylockGroups() ([]string, error) {
	if !slices.Contains(u.s.req.Groups, "*") {
		return u.s.req.Groups, nil
	}
	root, err := os.OpenRoot(u.s.req.BaseDir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	data, err := readLimited(root, u.p.file.project.File, mostProjectFile)
	if err != nil {
		return nil, err
	}
	var l struct {
		Groups []string `toml:"dependency-groups"`
	}
	if err := toml.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("%s: %w", u.p.file.project.File, err)
	}
	return l.Groups, nil
}
