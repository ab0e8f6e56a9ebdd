package envcache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"agentctl/internal/tree"
)

// covered runs programs on the host as a sandbox would: what they write to the
// downloads goes to the upper folder of their cover.
type covered struct {
	Exec
	write string
}

func (c covered) Run(ctx context.Context, cmd Cmd) (Exit, error) {
	for _, cover := range cmd.Covers {
		dir := filepath.Join(cover.Upper, "upper", filepath.Base(filepath.Dir(c.write)))
		err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, filepath.Base(c.write)), nil, 0o644))
		if err != nil {
			return Exit{}, err
		}
	}
	return c.Exec.Run(ctx, cmd)
}

// What a build in a sandbox downloads is there for the next, unless code of a package
// ran in it; its bytecode is compiled where no downloads can be seen at all.
func TestDownloadsOfABuildInASandbox(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("clean", "1.0"))
	x.add(sdist("coded", "1.0", nil))
	for name, keeps := range map[string]bool{"clean": true, "coded": false} {
		c := newCache(t, Options{})
		uid, _ := owner(SameUser, SameUser)
		kept := filepath.Join(c.state, "cache", "pip-"+strconv.Itoa(uid), "kept")
		watch := &spy{Exec: covered{HostExec{}, kept}}
		req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser, Host: watch}
		acquire(t, c, req.with(name))
		if _, err := os.Stat(kept); (err == nil) != keeps {
			t.Errorf("%s: %v", name, err)
		}
		for _, cmd := range watch.ran() {
			if compiles := strings.Contains(strings.Join(cmd.Args, " "), compileScript); compiles == (len(cmd.Covers) > 0) {
				t.Errorf("%s: %.200q has the covers %v", name, cmd.Args, cmd.Covers)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(c.state, "envs", ".work-*")); left != nil {
			t.Errorf("left %q", left)
		}
	}
}

// Files replace files, folders come whole or are gone through, and what was removed
// stays.
func TestMoveInto(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for dir, files := range map[string]map[string]string{
		from: {"new/deep/a": "new", "both/file": "new", "both/more": "new", "blocked/x": "new", "over": "new"},
		to:   {"both/file": "old", "both/old": "old", "blocked": "old", "over": "old"},
	} {
		for name, text := range files {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Symlink("/etc", filepath.Join(from, "both", "link")); err != nil {
		t.Fatal(err)
	}
	if err := moveInto(from, to); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := tree.Walk(to, func(n tree.Node) error {
		if n.Info.Mode().IsRegular() {
			data, err := fs.ReadFile(n.Dir.FS(), n.Name)
			got = append(got, n.Rel+"="+string(data))
			return err
		}
		return nil
	}, nil)
	if want := "blocked=old both/file=new both/more=new both/old=old new/deep/a=new over=new"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("%q, %v, want %s", got, err, want)
	}
	if link, err := os.Readlink(filepath.Join(to, "both", "link")); err != nil || link != "/etc" {
		t.Errorf("%q, %v", link, err)
	}
}
