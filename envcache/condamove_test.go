package envcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"agentctl/test/condakit"
)

// placed is what conda puts at the place of an environment's path in its packages.
var placed = "/opt/" + strings.Repeat("placehold_", 25)

// handmade makes environments as conda leaves them, without conda: their own
// path is in conda's records, in texts, and in a program with room behind it.
type handmade struct{ stuck bool }

func condaProgram(env string) string {
	room := strings.Repeat("\x00", len(placed)-len(env)+1)
	return "\x7fELF\x00" + env + "/lib/x" + room + "next\x00"
}

func (h handmade) plan(context.Context, Request, func(Progress)) (plan, error) {
	return plan{
		brings: true, wishes: []string{requirementsPart},
		parts: []Part{{Name: "manager", Value: "hand-1"}, {Name: requirementsPart, Lines: []string{"x 1"}}},
		build: func(ctx context.Context, s *site) error {
			lock := Lock{Manager: ManagerConda, Python: s.req.Python.Version, Conda: []string{"https://c.invalid/x-1-0.conda#sha256:00"}}
			if err := s.locked(ctx, lock); err != nil {
				return err
			}
			s.variables = []string{"CONDA_PREFIX=" + s.path, "X_HOME=" + s.path + "/share/x", "PLAIN=1"}
			err := errors.Join(s.venv(ctx), s.mkdir("conda-meta"), s.mkdir("etc"))
			for name, text := range map[string]string{
				"conda-meta/x-1-0.json": fmt.Sprintf(`{"paths_data":{"paths":[{"_path":"bin/x","prefix_placeholder":%q,"file_mode":"binary"},
					{"_path":"etc/x.conf","prefix_placeholder":%[1]q,"file_mode":"text"}]}}`, placed),
				"bin/x": condaProgram(s.path), "bin/say": "#!" + s.path + "/bin/python -I\nimport sys; print(sys.prefix)\n", "etc/x.conf": "home = " + s.path + "\n",
			} {
				err = errors.Join(err, s.write(name, text, 0o755))
			}
			if h.stuck {
				err = errors.Join(err, s.write("lib/unknown.so", "\x00"+s.path, 0o644))
			}
			return err
		},
	}, nil
}

// condaLike is a cache and a request for an environment of handmade.
func condaLike(t *testing.T, state string, uid int) (*Cache, Request) {
	t.Helper()
	c := openCache(t, state, nil)
	c.builders[ManagerConda] = handmade{}
	return c, Request{Manager: ManagerConda, Python: hostPython(t, uid), PythonWanted: "3", UID: uid, GID: uid}
}

func condaMoved(t *testing.T, dir string) {
	t.Helper()
	program, err1 := os.ReadFile(filepath.Join(dir, "bin", "x"))
	conf, err2 := os.ReadFile(filepath.Join(dir, "etc", "x.conf"))
	if err := errors.Join(err1, err2); err != nil || string(program) != condaProgram(dir) || string(conf) != "home = "+dir+"\n" {
		t.Errorf("%q, %q, %v", program, conf, err)
	}
	if got := python(t, filepath.Join(dir, "bin", "say")); got != dir {
		t.Errorf("the script says %q", got)
	}
}

func TestCondaIsHandedOverAsACopy(t *testing.T) {
	t.Parallel()
	uid := SameUser
	if os.Geteuid() == 0 {
		uid = 65534
	}
	c, req := condaLike(t, newState(t), uid)
	l := acquire(t, c, req)
	dir := filepath.Join(longState(t), strings.Repeat("t", 40), "env")
	if err := os.Mkdir(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	child, err := c.Child(t.Context(), l, dir, uid, uid)
	if err != nil {
		t.Fatal(err)
	}
	condaMoved(t, dir)
	if got := strings.Join(child.Variables, " "); got != "CONDA_PREFIX="+dir+" X_HOME="+dir+"/share/x PLAIN=1" {
		t.Errorf("variables %q", got)
	}
	if child.Python != filepath.Join(dir, "bin", "python") || len(child.PathDirs) != 1 {
		t.Errorf("%+v", child)
	}
	if left := speaksOf(t, dir, l.Path); left != nil {
		t.Errorf("these speak of the environment that is shared: %v", left)
	}
	var out strings.Builder
	exit, err := HostExec{}.Run(t.Context(), Cmd{Args: []string{"/bin/sh", "-c", "echo evil >" + dir + "/etc/x.conf && touch " + dir + "/bin/new"}, Dir: "/", UID: uid, GID: uid, Stderr: &out})
	if err != nil || exit.Code != 0 {
		t.Fatalf("the task can't write to its own copy: %+v, %v, %s", exit, err, out.String())
	}
	if err := c.VerifyFully(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Child(t.Context(), l, dir, uid, uid); !errors.Is(err, os.ErrExist) {
		t.Fatalf("err = %v", err)
	}
}

// What can't be moved is handed over as it is, under a thin environment.
func TestCondaThatCantMoveIsHandedOverThin(t *testing.T) {
	t.Parallel()
	c, req := condaLike(t, newState(t), SameUser)
	c.builders[ManagerConda] = handmade{stuck: true}
	l := acquire(t, c, req)
	dir := filepath.Join(newState(t), "env")
	child, err := c.Child(t.Context(), l, dir, SameUser, SameUser)
	if err != nil || len(child.PathDirs) != 2 || child.Variables[0] != "CONDA_PREFIX="+l.Path {
		t.Fatalf("%+v, %v", child, err)
	}
	if got := python(t, child.Python, "-c", "import sys; print(sys.prefix)"); got != dir {
		t.Fatalf("the child says %q", got)
	}
}

// The same with what conda really installs: programs, activation, pip.
func TestCondaOfAChannelMoves(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{})
	src := condaCache(t, SameUser, Options{})
	req := condaRequest(kit, server.Main(), server.Extra()).conda("hello", "activates", "prefixed ==1.0", "pyyaml")
	first := acquire(t, src, req)
	archive := export(t, src, first.Key)
	check := func(dir string, variables []string) {
		t.Helper()
		got := python(t, filepath.Join(dir, "bin", "python"), "-c", "import sys, hello, yaml, json; print(sys.prefix, sys.base_prefix, yaml.CSafeLoader.__name__)")
		if got != dir+" "+dir+" CSafeLoader" {
			t.Errorf("the environment says %q", got)
		}
		if got := python(t, filepath.Join(dir, "bin", "hello")); got != "hello 1.0" {
			t.Errorf("the program says %q", got)
		}
		if got := python(t, filepath.Join(dir, "bin", "prefixed")); got != dir {
			t.Errorf("the prefix in a text is %q", got)
		}
		if got := python(t, filepath.Join(dir, "bin", "pip"), "list"); !strings.Contains(got, "PyYAML") {
			t.Errorf("pip says %q", got)
		}
		program, err := os.ReadFile(filepath.Join(dir, "lib", "prefixed.bin"))
		if err != nil || !strings.HasPrefix(string(program), "\x7fKIT\x00"+dir+"/share\x00") || !strings.HasSuffix(string(program), "\x00after") {
			t.Errorf("the prefix in a program: %q, %v", program, err)
		}
		if !slices.Contains(variables, "KIT_HOME="+dir+"/share/kit") || !slices.Contains(variables, "PATH="+dir+"/kit-bin") {
			t.Errorf("variables %q", variables)
		}
		if left := speaksOf(t, dir, first.Path); left != nil {
			t.Errorf("these speak of the old place: %v", left)
		}
	}
	dir := filepath.Join(newState(t), "env")
	child, err := src.Child(t.Context(), first, dir, SameUser, SameUser)
	if err != nil {
		t.Fatal(err)
	}
	check(dir, child.Variables)
	to := condaCache(t, SameUser, Options{})
	l := imported(t, to, archive, req, ImportOptions{UID: SameUser, GID: SameUser})
	check(l.Path, l.Variables)
	// By its lock it is found even where the list would be another: on a host with other virtual packages.
	if again := acquire(t, to, Request{Manager: ManagerConda, Lock: first.Lock, UID: SameUser, GID: SameUser, CondaChannels: req.CondaChannels}); again.Key != l.Key {
		t.Errorf("by its lock: %s", again.Why)
	}
}

func TestCondaIsImported(t *testing.T) {
	t.Parallel()
	src, req := condaLike(t, newState(t), SameUser)
	first := acquire(t, src, req)
	archive := export(t, src, first.Key)
	for _, state := range []string{longState(t), newState(t)} {
		c, req := condaLike(t, state, SameUser)
		l := imported(t, c, archive, req, ImportOptions{UID: SameUser, GID: SameUser})
		condaMoved(t, l.Path)
		if got := strings.Join(l.Variables, " "); got != "CONDA_PREFIX="+l.Path+" X_HOME="+l.Path+"/share/x PLAIN=1" {
			t.Errorf("variables %q", got)
		}
		if l.Lock == nil || len(l.Lock.Conda) != 1 {
			t.Errorf("lock %+v", l.Lock)
		}
	}
	newer := repacked(t, archive, func(a *archiveReader, _ map[string]string) { a.Needs.Libc = "glibc 99.1" })
	c, _ := condaLike(t, newState(t), SameUser)
	if _, err := c.Import(t.Context(), strings.NewReader(string(newer)), ImportOptions{UID: SameUser, GID: SameUser}, nil); err == nil || !strings.Contains(err.Error(), "glibc 99.1 or newer") {
		t.Errorf("err = %v", err)
	}
}
