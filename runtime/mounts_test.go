package runtime

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// world is a state folder with an environment, a checkout, and what a task must
// not see.
type world struct {
	state, env, code, own, other, host string
	cfg                                Config
}

func newWorld(t *testing.T, uid int, script string) *world {
	t.Helper()
	root := newDir(t)
	w := &world{state: filepath.Join(root, "state"), host: filepath.Join(root, "host")}
	w.env, w.code = filepath.Join(w.state, "envs", "e1"), filepath.Join(w.state, "repos", "c1")
	w.own, w.other = filepath.Join(w.state, "tasks", "own", "home"), filepath.Join(w.state, "tasks", "other")
	w.cfg = newConfig(t, sh(script, w.state, w.env, w.code, w.own, w.other)...)
	w.cfg.Dir = filepath.Join(w.state, "tasks", "own")
	for _, dir := range []string{w.env + "/bin", w.env + "/lib/pkg", w.code + "/.git", w.own, w.other, w.host} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	for _, file := range []string{w.env + "/bin/tool", w.env + "/lib/pkg/mod.py", w.code + "/main.py", w.code + "/.git/HEAD", w.other + "/secret", w.host + "/file"} {
		must(t, os.WriteFile(file, []byte(filepath.Base(file)+"\n"), 0o644))
	}
	if uid != -1 {
		for _, top := range []string{w.env, w.code, w.own} {
			must(t, filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error {
				must(t, err)
				return os.Lchown(path, uid, uid)
			}))
		}
		w.cfg.UID, w.cfg.GID = uid, uid
	}
	w.cfg.Cwd = w.code
	w.cfg.Overlays = []Overlay{
		{Target: w.env, Lower: w.env, Upper: filepath.Join(w.cfg.Dir, "upper", "env")},
		{Target: w.code, Lower: w.code, Upper: filepath.Join(w.cfg.Dir, "upper", "code")},
	}
	w.cfg.Hide, w.cfg.Keep = []string{w.state}, []string{w.own}
	return w
}

// picture is all below dir: names, modes, owners, contents and times of change.
func picture(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		data := ""
		if d.Type().IsRegular() {
			raw, err := os.ReadFile(path)
			must(t, err)
			data = string(raw)
		}
		fmt.Fprintf(&b, "%s %o %d:%d %d.%d %q\n", path, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec, data)
		return nil
	}))
	return b.String()
}

// eachView runs test for each way of having a view that this host has, once for
// the own user and, as root, once for nobody.
func eachView(t *testing.T, test func(t *testing.T, mount string, uid int)) {
	for _, mount := range []string{MountRoot, MountUserNS} {
		if has(t, mountRungs, mount) {
			t.Run(mount, func(t *testing.T) { test(t, mount, -1) })
		}
	}
	if has(t, mountRungs, MountRoot) {
		t.Run("root as nobody", func(t *testing.T) { test(t, MountRoot, 65534) })
	}
}

const changeAll = `set -e
cat "$1/bin/tool" main.py .git/HEAD
echo changed > "$1/bin/tool"; echo changed >> main.py; rm "$1/lib/pkg/mod.py"; rmdir "$1/lib/pkg"; mkdir "$1/lib/new"
echo new > "$1/lib/new/file"; mv .git gone; ln -s x link; chmod 700 gone; rm -r gone; mkdir -p gone/a; touch "$3/mine"
cat "$1/bin/tool"; ls "$1/lib" .
`

func TestTaskChangesItsViewOnly(t *testing.T) {
	eachView(t, func(t *testing.T, mount string, uid int) {
		w := newWorld(t, uid, changeAll)
		w.cfg.MountNS = mount
		env, code := picture(t, w.env), picture(t, w.code)
		exit, out := runToEnd(t, w.cfg)
		want := "tool\nmain.py\nHEAD\nchanged\n.:\ngone\nlink\nmain.py\n\n" + w.env + "/lib:\nnew\n"
		if exit.Code != 0 || exit.MountNS != mount || out[StreamStdout] != want || out[StreamStderr] != "" {
			t.Errorf("%+v, wrote %q, want %q", exit, out, want)
		}
		if got := picture(t, w.env); got != env {
			t.Errorf("the environment was\n%s\nis\n%s", env, got)
		}
		if got := picture(t, w.code); got != code {
			t.Errorf("the checkout was\n%s\nis\n%s", code, got)
		}
		if _, err := os.Stat(w.own + "/mine"); err != nil {
			t.Errorf("what is kept is not shared: %v", err)
		}
		if data, err := os.ReadFile(w.cfg.Overlays[0].UpperDir() + "/bin/tool"); err != nil || string(data) != "changed\n" {
			t.Errorf("the upper folder holds %q, %v", data, err)
		}
	})
}

func TestTaskSeesOnlyItsOwn(t *testing.T) {
	eachView(t, func(t *testing.T, mount string, uid int) {
		w := newWorld(t, uid, `cd "$0"; find . -maxdepth 3 | sort; cat "$4/secret"; touch "$0/x" "$0/envs/x" "$0/tasks/x"; cd "$3/../.."; ls; grep -c "$0" /proc/self/mountinfo`)
		w.cfg.MountNS = mount
		_, out := runToEnd(t, w.cfg)
		want := ".\n./envs\n./envs/e1\n./envs/e1/bin\n./envs/e1/lib\n./repos\n./repos/c1\n./repos/c1/.git\n./repos/c1/main.py\n./tasks\n./tasks/own\n./tasks/own/home\nown\n4\n"
		if out[StreamStdout] != want {
			t.Errorf("saw %q, want %q", out[StreamStdout], want)
		}
		if got := strings.Count(out[StreamStderr], "Read-only file system"); got != 3 {
			t.Errorf("it could write into what is hidden: %q", out[StreamStderr])
		}
		if !strings.Contains(out[StreamStderr], "No such file") {
			t.Errorf("another task's file: %q", out[StreamStderr])
		}
	})
}

// What the task does not get: rights over its view, and a way for its mounts to
// the host.
func TestTaskCanNotTakeItsViewApart(t *testing.T) {
	eachView(t, func(t *testing.T, mount string, uid int) {
		if uid == -1 && mount == MountRoot {
			return // a task of root may do all that root may
		}
		w := newWorld(t, uid, `umount "$1"; umount -l "$0"; mount -o remount,rw "$0"; mount -t tmpfs x "$3"; grep -E '^Cap(Eff|Amb)' /proc/self/status
unshare -Ur umount "$0"; unshare -Urm sh -c 'umount "$0" || umount -l "$0" || cat "$1/secret"' "$0" "$4"; true`)
		w.cfg.MountNS = mount
		_, out := runToEnd(t, w.cfg)
		text := out[StreamStdout]
		if strings.Contains(text, "secret") || !strings.Contains(text, "CapAmb:\t0000000000000000") {
			t.Errorf("wrote %q", out)
		}
		if os.Geteuid() != 0 || uid != -1 {
			if !strings.Contains(text, "CapEff:\t0000000000000000") {
				t.Errorf("wrote %q", text)
			}
		}
	})
}

func TestReadOnlyView(t *testing.T) {
	eachView(t, func(t *testing.T, mount string, uid int) {
		w := newWorld(t, uid, `cat "$1/bin/tool"; echo x > "$1/bin/tool"; cat "$0/elsewhere/file"; echo x > "$0/elsewhere/file"`)
		w.cfg.MountNS = mount
		w.cfg.Overlays[0].Upper = ""
		// At a place that is not there on the host.
		w.cfg.Overlays = append(w.cfg.Overlays, Overlay{Target: w.state + "/elsewhere", Lower: w.host})
		exit, out := runToEnd(t, w.cfg)
		if exit.Code == 0 || out[StreamStdout] != "tool\nfile\n" || strings.Count(out[StreamStderr], "Read-only file system") != 2 {
			t.Errorf("%+v, wrote %q", exit, out)
		}
	})
}

func TestUpperIsFilledBefore(t *testing.T) {
	eachView(t, func(t *testing.T, mount string, uid int) {
		w := newWorld(t, uid, `cat script.py main.py; ls; stat -c %a .; echo x > new`)
		w.cfg.MountNS = mount
		up := w.cfg.Overlays[1].UpperDir()
		must(t, os.MkdirAll(up, 0o700))
		must(t, os.WriteFile(up+"/script.py", []byte("added\n"), 0o644))
		exit, out := runToEnd(t, w.cfg)
		if want := "added\nmain.py\nmain.py\nscript.py\n755\n"; exit.Code != 0 || out[StreamStdout] != want {
			t.Errorf("%+v, wrote %q, want %q", exit, out, want)
		}
	})
}

// Kept files, folders that do not exist, overlays and covers in each other.
func TestOddViews(t *testing.T) {
	eachView(t, func(t *testing.T, mount string, uid int) {
		w := newWorld(t, uid, `cat "$1/bin/tool" "$4/secret"; ls "$4"; ls "$3"; cat "$3/env/bin/tool"; ls "$1"`)
		w.cfg.MountNS = mount
		sub := w.own + "/env"
		for _, dir := range []string{sub, w.own + "/private"} {
			must(t, os.Mkdir(dir, 0o755))
		}
		must(t, os.WriteFile(w.own+"/private/p", nil, 0o644))
		must(t, os.WriteFile(w.other+"/second", nil, 0o644))
		w.cfg.Keep = append(w.cfg.Keep, w.other+"/secret", w.host)
		w.cfg.Hide = append(w.cfg.Hide, w.own+"/private", "/no/such/folder", w.env+"/lib")
		w.cfg.Overlays = append(w.cfg.Overlays, Overlay{Target: sub, Lower: w.env, Upper: w.cfg.Dir + "/upper/sub"})
		exit, out := runToEnd(t, w.cfg)
		want := "tool\nsecret\nsecret\nenv\nprivate\ntool\nbin\nlib\n"
		if exit.Code != 0 || out[StreamStdout] != want {
			t.Errorf("%+v, wrote %q, want %q", exit, out, want)
		}
	})
}

func TestViewsThatCanNotBe(t *testing.T) {
	eachView(t, func(t *testing.T, mount string, uid int) {
		for _, tt := range []struct {
			name, want string
			change     func(w *world)
		}{
			{"no lower", "no such file", func(w *world) { w.cfg.Overlays[0].Lower = "/x/y" }},
			{"lower is a file", "not a directory", func(w *world) { w.cfg.Overlays[0].Lower = w.host + "/file" }},
			{"no target", "no such file", func(w *world) { w.cfg.Overlays[0].Target = w.host + "/x" }},
			{"nothing to keep", "cannot keep", func(w *world) { w.cfg.Keep = []string{w.state + "/x"} }},
			{"hidden file", "cannot show", func(w *world) { w.cfg.Hide = []string{w.host + "/file"} }},
		} {
			t.Run(tt.name, func(t *testing.T) {
				w := newWorld(t, uid, "echo ran")
				w.cfg.MountNS = mount
				tt.change(w)
				exit, out := runToEnd(t, w.cfg)
				if exit.Reason != StartFailed || !strings.Contains(exit.Message, tt.want) || out[StreamStdout] != "" {
					t.Errorf("%+v, wrote %q", exit, out)
				}
			})
		}
	})
}

// All rungs of both ladders together.
func TestEveryPairOfRungs(t *testing.T) {
	eachView(t, func(t *testing.T, mount string, uid int) {
		eachContainment(t, func(t *testing.T, containment string) {
			w := newWorld(t, uid, changeAll+`[ "$(readlink /proc/self)" -gt 0 ]; exec "$5" play nasty "$1"`)
			w.cfg.Args = append(w.cfg.Args, self())
			w.cfg.MountNS, w.cfg.Containment = mount, containment
			before := picture(t, w.env)
			task := start(t, w.cfg)
			exit := wait(t, task)
			out := readAll(t, w.cfg.Dir)
			if exit.Code != 7 || exit.MountNS != mount || exit.Containment != containment {
				t.Errorf("%+v, wrote %q", exit, out)
			}
			// Of the task: the shim, which has the state's folder for an argument, is about to go.
			if left := running(t, w.env); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
			if picture(t, w.env) != before {
				t.Error("the environment was changed")
			}
		})
	})
}
