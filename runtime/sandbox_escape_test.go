package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// outside is a folder of the host that nothing in a sandbox may see or change,
// and what it looks like.
type outside struct{ dir, looks string }

const canary = "canary-of-the-host"

func newOutside(t *testing.T) *outside {
	t.Helper()
	dir := newDir(t)
	must(t, os.Chmod(dir, 0o777)) // it is not the modes that protect it
	must(t, os.WriteFile(dir+"/secret", []byte(canary), 0o666))
	must(t, os.Chmod(dir+"/secret", 0o666))
	o := &outside{dir: dir}
	o.looks = o.look(t)
	return o
}

// look describes the folder, the shim, and settings of the kernel.
func (o *outside) look(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(o.dir, func(path string, d os.DirEntry, err error) error {
		must(t, err)
		st, err := d.Info()
		must(t, err)
		sys := st.Sys().(*syscall.Stat_t)
		fmt.Fprintln(&b, path, st.Mode(), sys.Uid, sys.Gid)
		if !d.IsDir() {
			data, err := os.ReadFile(path)
			must(t, err)
			fmt.Fprintln(&b, string(data))
		}
		return nil
	}))
	for _, file := range []string{realShim(t), "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/panic"} {
		data, err := os.ReadFile(file)
		must(t, err)
		sum := sha256.Sum256(data)
		fmt.Fprintln(&b, file, hex.EncodeToString(sum[:]))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	fmt.Fprintln(&b, "mounts:", strings.Count(string(mounts), o.dir))
	return b.String()
}

func (o *outside) check(t *testing.T, out map[string]string) {
	t.Helper()
	if now := o.look(t); now != o.looks {
		t.Errorf("outside was\n%s\nis\n%s", o.looks, now)
	}
	for stream, text := range out {
		if strings.Contains(text, canary) {
			t.Errorf("the task read what is outside: %s: %s", stream, text)
		}
	}
}

// Images whose files lead out of them. Each is refused, or leads nowhere.
func TestHostileRoots(t *testing.T) {
	up := strings.Repeat("../", 12)
	for _, tt := range []struct {
		name   string
		links  map[string]string // in the image, to the outside
		mount  string            // a target, of a folder of the host
		refuse string            // "" if it may run, contained
	}{
		{name: "/dev leads out", links: map[string]string{"dev": "OUT"}},
		{name: "/dev leads up", links: map[string]string{"dev": up + "OUT"}},
		{name: "/dev is a file", links: map[string]string{"dev": ""}, refuse: "dev"},
		{name: "/proc leads out", links: map[string]string{"proc": "OUT"}, refuse: "ordinary directory"},
		{name: "/proc is a file", links: map[string]string{"proc": ""}, refuse: "ordinary directory"},
		{name: "/sys leads out", links: map[string]string{"sys": up + "OUT"}},
		{name: "/etc leads out", links: map[string]string{"etc": "OUT"}},
		{name: "hostname leads out", links: map[string]string{"etc/hostname": "OUT/secret"}},
		{name: "hostname leads to the kernel", links: map[string]string{"etc/hostname": "/proc/sys/kernel/core_pattern"}, refuse: "proc"},
		{name: "null is the kernel's", links: map[string]string{"dev/null": "/proc/sys/kernel/core_pattern"}},
		{name: "terminals lead out", links: map[string]string{"dev/pts": "OUT", "dev/ptmx": "OUT/secret"}},
		{name: "shm leads out", links: map[string]string{"dev/shm": "OUT", "dev/mqueue": "OUT"}},
		{name: "the runner's name leads out", links: map[string]string{"dev/.agentctl-shim-runner": "OUT/secret"}},
		{name: "a mount's target leads out", links: map[string]string{"data": up + "OUT"}, mount: "/data"},
		{name: "a mount's folder leads out", links: map[string]string{"data": "OUT"}, mount: "/data/deep/er"},
		{name: "a mount's target leads to /proc", links: map[string]string{"data": "/proc/1"}, mount: "/data", refuse: "proc"},
		{name: "a loop", links: map[string]string{"data": "loop", "loop": "data"}, mount: "/data", refuse: "too many levels"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leadsOut(t, tt.links, tt.mount, tt.refuse)
		})
	}
}

// readsOut reads and writes, in a sandbox, by all names that may lead out of it.
const readsOut = `cat /dev/x/secret /dev/secret /proc/secret /etc/secret /data/secret /sys/secret /tmp/secret 2>/dev/null; echo changed > /data/secret; echo changed > /etc/secret; echo changed > /dev/null; touch /data/new /dev/new /etc/new; true`

// leadsOut runs an image with links that lead out of it, where OUT is the outside.
// It is refused with a word, or runs and is held.
func leadsOut(t *testing.T, links map[string]string, mount, refuse string) {
	t.Helper()
	o := newOutside(t)
	root := busyboxLayer(t)
	for name, target := range links {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.RemoveAll(path))
		if target == "" {
			must(t, os.WriteFile(path, nil, 0o755))
			continue
		}
		must(t, os.Symlink(strings.ReplaceAll(target, "OUT", o.dir), path))
	}
	cfg := boxConfig(t, readsOut, root)
	if mount != "" {
		cfg.Sandbox.Mounts = []Mount{{Source: newDir(t), Target: mount}}
	}
	exit, out := runToEnd(t, cfg)
	o.check(t, out)
	if refuse != "" && (exit.Reason != StartFailed || !strings.Contains(exit.Message, refuse)) {
		t.Errorf("ended as %+v, want a refusal that speaks of %q", exit, refuse)
	}
	if refuse == "" && exit.Code != 0 {
		t.Errorf("ended as %+v with %q", exit, out)
	}
	noGroupsOf(t, cfg.Dir)
}

// What comes late is placed where its path says, or not at all.
func TestHostileLateTargets(t *testing.T) {
	for name, target := range map[string]string{"leads out": "OUT", "leads inside": "/tmp", "leads to the kernel": "/proc/sys/kernel", "leads nowhere": "/x/y"} {
		for _, path := range []string{"/late", "/late/deep"} {
			t.Run(name+path, func(t *testing.T) {
				o := newOutside(t)
				root := busyboxLayer(t)
				must(t, os.Symlink(strings.ReplaceAll(target, "OUT", o.dir), root+"/late"))
				base := newDir(t)
				for _, ahead := range []bool{false, true} {
					cfg := boxConfig(t, "true", root)
					cfg.ID += fmt.Sprint(ahead)
					s := (*Spare)(nil)
					if ahead {
						s = prepare(t, cfg)
					}
					cfg.Overlays = []Overlay{{Target: path, Lower: base, Upper: cfg.Dir + "/upper"}}
					exit, out := runIn(t, s, cfg)
					o.check(t, out)
					if exit.Reason != StartFailed || !strings.Contains(exit.Message, "symbolic link") {
						t.Errorf("ended as %+v", exit)
					}
				}
			})
		}
	}
}

// runIn runs cfg in a spare sandbox, or cold.
func runIn(t *testing.T, s *Spare, cfg Config) (Exit, map[string]string) {
	t.Helper()
	if s == nil {
		return runToEnd(t, cfg)
	}
	task, err := s.Start(t.Context(), cfg)
	must(t, err)
	exit := wait(t, task)
	return exit, readAll(t, cfg.Dir)
}

// Working folders that are descriptors, of which one might be the host's.
func TestHostileFolders(t *testing.T) {
	o := newOutside(t)
	look := `pwd; ls; cat .` + o.dir + `/secret ..` + o.dir + `/secret ../../../..` + o.dir + `/secret`
	root := busyboxLayer(t)
	for n := 3; n < 9; n++ {
		cfg := boxConfig(t, look, root)
		cfg.Cwd = fmt.Sprintf("/proc/self/fd/%d", n)
		cfg.ID += fmt.Sprint("-", n)
		exit, out := runToEnd(t, cfg)
		o.check(t, out)
		if exit.Reason != StartFailed {
			t.Errorf("%s: ended as %+v with %q", cfg.Cwd, exit, out)
		}
	}
	task := staying(t, nil)
	for n := range 16 {
		for _, base := range []string{"/proc/self/fd/%d", "/dev/fd/%d", "/proc/1/fd/%d", "/proc/1/cwd", "/proc/1/root/proc/self/fd/%d", "/proc/thread-self/fd/%d"} {
			var out, errOut strings.Builder
			cwd := fmt.Sprintf(base, n)
			if !strings.Contains(base, "%") {
				cwd = base
			}
			code, err := Exec(t.Context(), task.Dir(), ExecConfig{Args: sh(look), Env: []string{"PATH=/bin"}, Cwd: cwd, Stdout: &out, Stderr: &errOut})
			o.check(t, map[string]string{cwd: out.String(), StreamStderr: errOut.String()})
			if err == nil && !strings.HasPrefix(out.String(), "/\n") {
				t.Errorf("%s: %d, %s", cwd, code, out.String())
			}
		}
	}
}

// Programs that are the runner's own, to be written while it is executed.
func TestHostilePrograms(t *testing.T) {
	o := newOutside(t)
	root := busyboxLayer(t)
	must(t, os.WriteFile(root+"/script", []byte("#!/proc/self/exe\n"), 0o755))
	must(t, os.WriteFile(root+"/script2", []byte("#!/proc/1/exe\n"), 0o755))
	must(t, os.Symlink("/proc/self/exe", root+"/link"))
	attack := `for f in /proc/1/exe /proc/$$/exe /dev/.agentctl-shim-runner /proc/1/root/dev/.agentctl-shim-runner; do echo bad > $f; cat $f > /dev/null && cp $f /stolen; done
		for f in /proc/1/fd/* /proc/1/mem /proc/1/maps /proc/1/environ /proc/1/cwd/* /proc/1/map_files/*; do cat $f && echo READ $f; done
		rm -f /dev/.agentctl-shim-runner; mount -o remount,rw /dev/.agentctl-shim-runner && echo REMOUNTED; umount /dev/.agentctl-shim-runner && echo UNMOUNTED; for s in $(seq 1 64); do kill -$s 1; done; ps -o pid,args | grep -q '^ *1 ' && echo ALIVE; true`
	for _, args := range [][]string{{"/script"}, {"/script2"}, {"/link"}, {"/dev/.agentctl-shim-runner"}, {"/proc/self/exe", "init"}, sh(attack)} {
		cfg := boxConfig(t, "", root)
		cfg.Args = args
		cfg.Env = append(cfg.Env, "_LIBCONTAINER_INITPIPE=3", "_LIBCONTAINER_SYNCPIPE=4", "_LIBCONTAINER_LOGPIPE=5", "_LIBCONTAINER_INITTYPE=standard", "_LIBCONTAINER_FIFOFD=6")
		exit, out := runToEnd(t, cfg)
		o.check(t, out)
		if len(args) == 3 && !strings.Contains(out[StreamStdout], "ALIVE") {
			t.Errorf("the runner did not survive: %+v, %q", exit, out)
		}
		for _, bad := range []string{"READ", "REMOUNTED", "UNMOUNTED"} {
			if strings.Contains(out[StreamStdout], bad) {
				t.Errorf("%q: %+v: %s", args, exit, out[StreamStdout])
			}
		}
	}
}

// A task has nothing of the agent's: no descriptor, no variable, no mount.
func TestNothingOfTheAgentInASandbox(t *testing.T) {
	t.Setenv("AGENT_SECRET", canary)
	o := newOutside(t)
	f, err := os.Open(o.dir + "/secret")
	must(t, err)
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETFD, 0) // carelessly inheritable
	must(t, err)
	cfg := boxConfig(t, `for p in /proc/[0-9]*; do ls -l $p/fd; cat $p/environ; done 2>/dev/null | tr '\0' '\n'; cat /proc/self/mountinfo /proc/self/cgroup`, busyboxLayer(t))
	exit, out := runToEnd(t, cfg)
	o.check(t, out)
	text := out[StreamStdout]
	for _, bad := range []string{"AGENT_", cfg.Dir, o.dir, "socket:", "memfd", "anon_inode"} {
		if strings.Contains(text, bad) {
			t.Errorf("%+v: the task sees %q:\n%s", exit, bad, text)
		}
	}
}

// Two tasks see nothing of each other.
func TestSandboxesAreApart(t *testing.T) {
	root := busyboxLayer(t)
	key, err := unix.SysvShmGet(0x616763, 4096, unix.IPC_CREAT|0o666)
	must(t, err)
	defer func() { _, _ = unix.SysvShmCtl(key, unix.IPC_RMID, nil) }()
	mark := "token-of-a"
	a := boxConfig(t, `for d in /tmp /dev/shm /dev/mqueue / /dev /root; do echo `+canary+` > $d/`+mark+`; done; hostname `+mark+`; for n in ipc pid mnt uts user cgroup; do readlink /proc/self/ns/$n; done; echo staying; sleep 1000; echo `+mark, root)
	a.ID += "a"
	task := start(t, a)
	untilHidden(t, a)
	b := boxConfig(t, `find / -name '*`+mark+`*' -not -path '/proc/*' 2>/dev/null; cat /tmp/* /dev/shm/* 2>/dev/null; ps; cat /proc/[0-9]*/cmdline; hostname; tail -n +2 /proc/sysvipc/shm; kill -KILL -1; ls /proc | grep -c '^[0-9]'; for n in ipc pid mnt uts user cgroup; do readlink /proc/self/ns/$n; done`, root)
	b.ID += "b"
	exit, out := runToEnd(t, b)
	text := strings.ReplaceAll(out[StreamStdout], "*"+mark+"*", "")
	if strings.Contains(text, mark+"\n") || strings.Contains(text, canary) || strings.Contains(text, "sleep 1000") || strings.Contains(text, "6382435") {
		t.Errorf("%+v: b sees of a:\n%s", exit, text)
	}
	select {
	case <-task.Done():
		t.Error("b killed a")
	default:
	}
	must(t, task.Kill())
	wait(t, task)
	for line := range strings.Lines(readAll(t, a.Dir)[StreamStdout]) {
		if strings.Contains(line, ":[") && strings.Contains(text, line) {
			t.Errorf("b is in a's %s", line)
		}
	}
	if strings.Count(text, ":[") != 6 {
		t.Errorf("b does not tell its namespaces: %s", text)
	}
}
