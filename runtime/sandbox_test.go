package runtime

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
)

// busybox is the path of a static busybox.
var busybox = sync.OnceValue(func() string {
	for _, name := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	return ""
})

// layer makes the folder of a layer out of files: a text that begins with -> is
// a link, one that ends with / a folder.
func layer(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := newDir(t)
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch target, link := strings.CutPrefix(text, "->"); {
		case link:
			must(t, os.Symlink(target, path))
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(path, 0o755))
		default:
			must(t, os.WriteFile(path, []byte(text), 0o755))
		}
	}
	return dir
}

// busyboxLayer is a root with busybox and its links.
func busyboxLayer(t testing.TB) string {
	t.Helper()
	dir := layer(t, map[string]string{"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n", "etc/hostname": "image\n", "root/": "", "tmp/": "", "usr/bin/": "", "bin/": ""})
	must(t, os.Chmod(dir+"/tmp", 0o1777))
	must(t, copyFile(busybox(), dir+"/bin/busybox"))
	out, err := exec.Command(busybox(), "--list").Output()
	must(t, err)
	for _, name := range strings.Fields(string(out)) {
		if name != "busybox" {
			must(t, os.Symlink("busybox", dir+"/bin/"+name))
		}
	}
	return dir
}

// boxConfig runs a script in a sandbox of layers.
func boxConfig(t testing.TB, script string, layers ...string) Config {
	t.Helper()
	h, err := probed()
	must(t, err)
	if r := find(h.Sandbox, SandboxWorks); !r.Works {
		t.Skipf("there are no sandboxes on this host: %s", r.Reason)
	}
	cfg := newConfig(t, "/bin/sh", "-c", script)
	cfg.Containment, cfg.MountNS, cfg.Env = "", "", []string{"PATH=/bin"}
	cfg.Sandbox = &Sandbox{Layers: layers, IDs: IDRange{Base: 100000, Size: 65536}, Network: Network{Mode: NetworkHost}}
	if os.Geteuid() != 0 {
		ids, _, err := SubIDs()
		must(t, err)
		cfg.Sandbox.IDs, cfg.Sandbox.Shifted = ids, true
	} else if !find(h.Sandbox, SandboxIDMap).Works {
		cfg.Sandbox.Shifted = true
		for _, l := range layers {
			must(t, own(l, cfg.Sandbox.IDs.Base))
		}
	}
	return cfg
}

func TestSandboxRuns(t *testing.T) {
	cfg := boxConfig(t, `id -u; id -g; pwd; hostname; cat /etc/hostname; env | sort; ls /proc/self/fd | wc -l; touch /x; ls -ln /x | cut -c 1-26; echo two >/dev/stdout; echo err >&2; exit 3`, busyboxLayer(t))
	cfg.Env, cfg.Cwd = append(cfg.Env, "A=x y"), "/made/for/it"
	exit, out := runToEnd(t, cfg)
	// Of ls the fourth descriptor is the folder that it lists. SHLVL and PWD are
	// the shell's.
	want := "0\n0\n/made/for/it\nt-TestSandboxRuns\nt-TestSandboxRuns\nA=x y\nPATH=/bin\nPWD=/made/for/it\nSHLVL=1\n4\n-rw-r--r--    1 0        0\ntwo\n"
	if out[StreamStdout] != want || out[StreamStderr] != "err\n" || out[StreamAgent] != "" {
		t.Errorf("wrote %q, want %q", out, want)
	}
	if exit.Code != 3 || exit.Reason != Exited || exit.Containment != "sandbox" {
		t.Errorf("ended as %+v", exit)
	}
}

func TestSandboxIsAnotherUser(t *testing.T) {
	cfg := boxConfig(t, `id -u; id -g; id -G; grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status; echo again >/dev/stderr; touch /x 2>/dev/null || echo may not`, busyboxLayer(t))
	cfg.UID, cfg.GID, cfg.Groups = 1000, 1001, []int{7}
	exit, out := runToEnd(t, cfg)
	want := "1000\n1001\n1001 7\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nmay not\n"
	if exit.Code != 0 || out[StreamStdout] != want || out[StreamStderr] != "again\n" {
		t.Errorf("%+v, wrote %q, want %q", exit, out, want)
	}
}

func TestSandboxStartFailures(t *testing.T) {
	root := busyboxLayer(t)
	for _, tt := range []struct {
		name, want string
		change     func(*Config)
	}{
		{"no program", "cannot start: /x/python: no such file", func(c *Config) { c.Args = []string{"/x/python"} }},
		{"not in PATH", "in none of the folders of PATH (/bin)", func(c *Config) { c.Args = []string{"python"} }},
		{"no layer", "/nowhere", func(c *Config) { c.Sandbox.Layers = []string{"/nowhere"} }},
		{"no device", "it is no device", func(c *Config) { c.Sandbox.Devices = []Device{{Path: "/dev/shm", Target: "/dev/x", Access: "rw"}} }},
		{"no such sysctl", "not in a separate kernel namespace", func(c *Config) { c.Sandbox.Sysctls = map[string]string{"kernel.core_pattern": "x"} }},
		{"no source", "cannot mount to /data", func(c *Config) { c.Sandbox.Mounts = []Mount{{Source: "/no/where", Target: "/data"}} }},
		{"target is a file", "etc", func(c *Config) { c.Keep = []string{"/etc/passwd/x"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := boxConfig(t, "", root)
			tt.change(&cfg)
			exit, out := runToEnd(t, cfg)
			if exit.Reason != StartFailed || !strings.Contains(exit.Message, tt.want) || out[StreamAgent] != "" {
				t.Errorf("ended as %+v with %q, want %q", exit, out, tt.want)
			}
			noGroupsOf(t, cfg.Dir)
		})
	}
}

func noGroupsOf(t *testing.T, dir string) {
	t.Helper()
	h, err := record.ReadHandle(dir)
	must(t, err)
	noGroups(t, h.Groups)
}

func prepare(t testing.TB, cfg Config) *Spare {
	t.Helper()
	cfg.Dir, cfg.ID = newDir(t), "spare"
	s, err := launcher(realShim(t)).Prepare(context.Background(), cfg)
	must(t, err)
	return s
}

func TestSandboxAhead(t *testing.T) {
	root := busyboxLayer(t)
	cfg := boxConfig(t, `cat "$0/env/f"; echo more >> "$0/env/f"; echo mine > "$0/home/x"; hostname; ls -ln "$0/env"; exit 4`, root)
	base := newDir(t)
	for _, dir := range []string{"env", "home"} {
		must(t, os.Mkdir(base+"/"+dir, 0o755))
	}
	must(t, os.Chmod(base+"/home", 0o777))
	must(t, os.WriteFile(base+"/env/f", []byte("base\n"), 0o644))
	cfg.Args = append(cfg.Args, base)
	s := prepare(t, cfg)
	must(t, s.Ready(context.Background()))
	spare := s.Dir()
	cfg.Overlays = []Overlay{{Target: base + "/env", Lower: base + "/env", Upper: cfg.Dir + "/upper"}}
	cfg.Keep = []string{base + "/home"}
	task, err := s.Start(context.Background(), cfg)
	must(t, err)
	exit := wait(t, task)
	out := readAll(t, cfg.Dir)
	if exit.Code != 4 || !strings.HasPrefix(out[StreamStdout], "base\n") {
		t.Errorf("ended as %+v with %q", exit, out)
	}
	t.Log(out)
	if _, err := os.Stat(spare); !os.IsNotExist(err) {
		t.Errorf("the spare's folder is left: %v", err)
	}
	if data, err := os.ReadFile(base + "/home/x"); err != nil || string(data) != "mine\n" {
		t.Errorf("%q, %v", data, err)
	}
	if data, err := os.ReadFile(base + "/env/f"); err != nil || string(data) != "base\n" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestSandboxAheadIsDropped(t *testing.T) {
	cfg := boxConfig(t, "", busyboxLayer(t))
	s := prepare(t, cfg)
	must(t, s.Ready(context.Background()))
	h, err := record.ReadHandle(s.Dir())
	must(t, err)
	must(t, s.Remove())
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
	noGroups(t, h.Groups)
}

func noGroups(t *testing.T, groups map[string]string) {
	t.Helper()
	if len(groups) == 0 && os.Geteuid() == 0 {
		t.Error("there were no cgroups")
	}
	for _, dir := range groups {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("the cgroup %s is left: %v", dir, err)
		}
	}
}

// marked lists processes that see a mount of the run.
func marked(h Handle) ([]int, error) { return contain.Marked(h.Nonce, h.StartTicks) }
