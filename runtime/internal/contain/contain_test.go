package contain

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestParseStat(t *testing.T) {
	rest := " 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 1 1 1"
	for _, tt := range []struct {
		line string
		want Stat
		ok   bool
	}{
		{"42 (sh) S" + rest, Stat{PID: 42, Parent: 1, Start: 777}, true},
		{"42 (a) b) (c)) Z" + rest, Stat{PID: 42, Parent: 1, Start: 777, Dead: true}, true},
		{"42 (new\nline 9 9) R" + rest, Stat{PID: 42, Parent: 1, Start: 777}, true},
		{"42 (sh) S 1 1", Stat{}, false},
		{"", Stat{}, false},
		{"42 (sh) S x" + rest, Stat{}, false},
	} {
		got, err := parseStat(42, tt.line)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: %+v, %v", tt.line, got, err)
		}
	}
}

func TestReadStatOfThisProcess(t *testing.T) {
	st, err := ReadStat(os.Getpid())
	if err != nil || st.Parent != os.Getppid() || st.Start == 0 || st.Dead {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := ReadStat(1 << 30); err == nil {
		t.Error("a process that can't be was found")
	}
}

func TestDescendantsAndMarked(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "sleep 1000 & sleep 1000 & echo; wait")
	cmd.Env = []string{"X=mark-of-this-test"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	below, err := Descendants(os.Getpid())
	if err != nil || len(below) != 3 || below[0] != cmd.Process.Pid {
		t.Errorf("below this process: %v, %v", below, err)
	}
	st, err := ReadStat(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	marked, err := Marked("mark-of-this-test", st.Start)
	slices.Sort(marked)
	slices.Sort(below)
	if err != nil || !slices.Equal(marked, below) {
		t.Errorf("marked: %v, %v; want %v", marked, err, below)
	}
	if marked, err := Marked("mark-of-this-test", st.Start+1_000_000); err != nil || len(marked) > 0 {
		t.Errorf("marked and younger: %v, %v", marked, err)
	}
}

func TestFindMount(t *testing.T) {
	const text = `22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
38 31 0:35 /docker/a\040b /sys/fs/cgroup/free\040zer rw,relatime shared:9 master:1 - cgroup cgroup rw,net,freezer
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
nonsense
`
	root, point, ok := findMount(text, func(typ string, opts []string) bool { return typ == "cgroup" && slices.Contains(opts, "freezer") })
	if root != "/docker/a b" || point != "/sys/fs/cgroup/free zer" || !ok {
		t.Errorf("the freezer: %q at %q, %v", root, point, ok)
	}
	if _, point, ok := findMount(text, func(typ string, _ []string) bool { return typ == "cgroup2" }); point != "/sys/fs/cgroup/unified" || !ok {
		t.Errorf("version 2: %q, %v", point, ok)
	}
	if _, _, ok := findMount(text, func(string, []string) bool { return false }); ok {
		t.Error("found nothing somewhere")
	}
}

func TestOwnGroup(t *testing.T) {
	const text = "9:name=systemd:/\n6:freezer:/a:b/c\n0::/user.slice\n"
	if path, ok := ownGroup(text, func(c string) bool { return c == "" }); path != "/user.slice" || !ok {
		t.Errorf("version 2: %q, %v", path, ok)
	}
	if path, ok := ownGroup(text, func(c string) bool { return c == "freezer" }); path != "/a:b/c" || !ok {
		t.Errorf("the freezer: %q, %v", path, ok)
	}
}

// A cgroup that is not there is empty, killed and removed.
func TestGroupThatIsGone(t *testing.T) {
	for _, v1 := range []bool{false, true} {
		g := Group{Dir: filepath.Join(t.TempDir(), "x"), V1: v1}
		if !g.Empty() || g.Kill() != nil || g.Remove() != nil {
			t.Errorf("v1 %v: empty %v, kill %v, remove %v", v1, g.Empty(), g.Kill(), g.Remove())
		}
	}
}

// Without cgroup.kill, as on kernels before 5.14, version 2 is frozen and swept.
func TestKillFrozen(t *testing.T) {
	for name, find := range map[string]func() (Home, error){"v2": Home2, "v1": Home1} {
		t.Run(name, func(t *testing.T) {
			home, err := find()
			if err != nil {
				t.Skip(err)
			}
			g := Group{Dir: filepath.Join(home.Parent, "test-kill-frozen"), V1: name == "v1"}
			if err := g.Make(); err != nil {
				t.Skipf("no cgroup can be made here: %v", err)
			}
			t.Cleanup(func() {
				if err := g.Remove(); err != nil {
					t.Error(err)
				}
			})
			if err := os.Mkdir(filepath.Join(g.Dir, "below"), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/bin/sh", "-c", `echo $$ > "$0/below/cgroup.procs"; trap "" TERM; echo; while :; do sleep 0.01; done`, g.Dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if pids, err := g.Procs(); err != nil || !slices.Contains(pids, cmd.Process.Pid) || g.Empty() {
				t.Errorf("in it: %v, %v; empty %v", pids, err, g.Empty())
			}
			if err := g.Make(); err == nil {
				t.Error("a cgroup in use was taken")
			}
			if err := g.killFrozen(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			for !g.Empty() {
				if err := g.killFrozen(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
