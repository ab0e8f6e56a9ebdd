package runtime

import (
	"debug/elf"
	"os"
	"strconv"
	"strings"
	"testing"

	"agentctl/runtime/internal/contain"
)

// linked attacks by an image whose files lead out of it; with a word, it is refused.
func linked(links map[string]string, mount, refuse string) func(*testing.T) {
	return func(t *testing.T) { leadsOut(t, links, mount, refuse) }
}

// up leads above every root.
var up = strings.Repeat("../", 12)

// holdsFor runs a script that writes a word in capitals for each thing that it must
// not be able to do.
func holdsFor(t *testing.T, cfg Config, words ...string) {
	t.Helper()
	o := newOutside(t)
	exit, out := runToEnd(t, cfg)
	o.check(t, out)
	if !strings.HasSuffix(out[StreamStdout], "the end\n") {
		t.Errorf("the attack did not come to its end: %+v, %q", exit, out)
	}
	for _, word := range words {
		if strings.Contains(out[StreamStdout], word) {
			t.Errorf("%s: %s", word, out[StreamStdout])
		}
	}
}

// The host's cgroups: a release agent, processes moved, limits lifted.
func writesCgroups(t *testing.T) {
	holdsFor(t, boxConfig(t, `mkdir /x
for c in memory rdma misc; do mount -t cgroup -o $c cgroup /x && echo MOUNTED $c; done; mount -t cgroup2 none /x && echo MOUNTED 2; mount -o remount,rw /sys/fs/cgroup && echo REMOUNTED
unshare -r true && echo UNSHARED; unshare -m true && echo UNSHARED; unshare -C true && echo UNSHARED
for f in $(find /sys/fs/cgroup -name release_agent -o -name cgroup.procs -o -name memory.max -o -name memory.limit_in_bytes -o -name devices.allow -o -name cgroup.subtree_control); do echo 1 > $f && echo WROTE $f; done
for d in $(find /sys/fs/cgroup -type d); do [ -e $d/cgroup.procs ] && mkdir $d/x && echo MADE; done; grep -q 'CapInh:.0*$' /proc/self/status || echo INHERITS
echo the end`, busyboxLayer(t)), "MOUNTED", "REMOUNTED", "UNSHARED", "WROTE", "MADE", "INHERITS")
}

// Settings of the kernel that are written for a sandbox reach that sandbox, and what
// confines it is there when the task begins.
func writesSettings(t *testing.T) {
	const setting = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
	before, err := os.ReadFile(setting)
	must(t, err)
	cfg := boxConfig(t, `cat `+setting+`; grep -E 'NoNewPrivs|Seccomp:|CapBnd' /proc/self/status; (echo x > /proc/sys/kernel/core_pattern; echo b > /proc/sysrq-trigger) 2>/dev/null && echo WROTE; true`, busyboxLayer(t))
	cfg.Sandbox.Network.Mode, cfg.Sandbox.Sysctls = NetworkNone, map[string]string{"net.ipv4.ip_unprivileged_port_start": "77"}
	o := newOutside(t)
	exit, out := runToEnd(t, cfg)
	o.check(t, out)
	if want := "77\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"; exit.Code != 0 || out[StreamStdout] != want {
		t.Errorf("%+v, wrote %q, want %q", exit, out, want)
	}
	if after, err := os.ReadFile(setting); err != nil || string(after) != string(before) {
		t.Errorf("the host's was %q and is %q, %v", before, after, err)
	}
}

// Nothing that has rights of the host takes the image's variables, or libraries.
func inheritsVariables(t *testing.T) {
	root := busyboxLayer(t)
	must(t, os.WriteFile(root+"/x.so", []byte("no library"), 0o755))
	task := staying(t, func(cfg *Config) {
		for _, name := range []string{"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GCONV_PATH", "GODEBUG", "NVIDIA_VISIBLE_DEVICES", "_LIBCONTAINER_INITPIPE"} {
			cfg.Env = append(cfg.Env, name+"=/proc/self/cwd/x.so")
		}
	})
	all, err := contain.Descendants(task.PID())
	must(t, err)
	looked := []int{task.PID()}
	if os.Geteuid() == 0 {
		looked = append(looked, all[0]) // the runner; another user may not look into it
	}
	for _, pid := range looked {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		must(t, err)
		if strings.Contains(string(data), "x.so") {
			t.Errorf("process %d has variables of the image: %q", pid, data)
		}
	}
	shim, err := elf.Open(realShim(t))
	must(t, err)
	defer shim.Close()
	for _, p := range shim.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the shim is linked dynamically")
		}
	}
}

// Sockets without a file are everybody's who shares the network: none is ours.
func findsSockets(t *testing.T) {
	task := staying(t, nil)
	var out strings.Builder
	code, err := Exec(t.Context(), task.Dir(), ExecConfig{Args: sh("cat /proc/net/unix"), Env: []string{"PATH=/bin"}, Stdout: &out})
	must(t, err)
	if code != 0 || !strings.HasPrefix(out.String(), "Num") {
		t.Fatalf("%d, %q", code, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "@") && (strings.Contains(line, "agentctl") || strings.Contains(line, task.Dir())) {
			t.Errorf("the task can reach %s", line)
		}
	}
}
