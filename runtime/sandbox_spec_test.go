package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runc/libcontainer/specconv"
	"golang.org/x/sys/unix"
)

// What `runc spec` of this very release masks, makes read-only and mounts, the
// sandbox does too.
func TestSandboxAsRuncSpec(t *testing.T) {
	spec := specconv.Example()
	var script strings.Builder
	for _, path := range spec.Linux.MaskedPaths {
		fmt.Fprintf(&script, "echo masked %s $(cat %s 2>/dev/null | wc -c) $(ls -A %s 2>/dev/null | grep -v '^%s$' | wc -l)\n", path, path, path, path)
	}
	script.WriteString("cat /proc/self/mounts; for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/x /proc/sys/vm/drop_caches /sys/x; do (echo x > $f) 2>/dev/null && echo WROTE $f; done\n")
	cfg := boxConfig(t, script.String(), busyboxLayer(t))
	cfg.Sandbox.Network.Mode = NetworkNone
	exit, out := runToEnd(t, cfg)
	text := out[StreamStdout]
	if exit.Code != 1 || strings.Contains(text, "WROTE") {
		t.Fatalf("ended as %+v with %q", exit, out)
	}
	for _, path := range spec.Linux.MaskedPaths {
		if !strings.Contains(text, fmt.Sprintf("masked %s 0 0\n", path)) {
			t.Errorf("%s is not masked", path)
		}
	}
	mounts := map[string][]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 6 && strings.HasPrefix(f[1], "/") {
			mounts[f[1]] = append(strings.Split(f[3], ","), f[2])
		}
	}
	for _, path := range spec.Linux.ReadonlyPaths {
		if _, err := os.Stat(path); err == nil && !slices.Contains(mounts[path], "ro") {
			t.Errorf("%s is mounted as %v, not read-only", path, mounts[path])
		}
	}
	for _, m := range spec.Mounts {
		have := mounts[m.Destination]
		if m.Type != "cgroup" && !slices.Contains(have, m.Type) {
			t.Errorf("%s is mounted as %v, not %s", m.Destination, have, m.Type)
		}
		for _, o := range m.Options {
			switch o {
			case "nosuid", "noexec", "nodev", "ro":
				// What v1 has there is a folder of controllers, each read-only.
				if !slices.Contains(have, o) && !(m.Type == "cgroup" && o == "ro") {
					t.Errorf("%s is mounted as %v, not %s", m.Destination, have, o)
				}
			}
		}
	}
	if root := mounts["/"]; !slices.Contains(root, "nodev") || !slices.Contains(root, "nosuid") {
		t.Errorf("the root is mounted as %v", root)
	}
}

func TestSandboxNetworks(t *testing.T) {
	root := busyboxLayer(t)
	own, err := os.Readlink("/proc/self/ns/net")
	must(t, err)
	for mode, private := range map[string]bool{NetworkHost: false, NetworkNone: true} {
		cfg := boxConfig(t, `readlink /proc/self/ns/net; ip addr show lo | grep -c 'inet 127'; ip link | grep -c '^[0-9]'; for ns in ipc uts pid mnt user cgroup; do readlink /proc/self/ns/$ns; done`, root)
		cfg.Sandbox.Network.Mode = mode
		exit, out := runToEnd(t, cfg)
		lines := strings.Fields(out[StreamStdout])
		if len(lines) != 9 || (lines[0] != own) != private || lines[1] != "1" || private && lines[2] != "1" {
			t.Fatalf("%s: %+v, %q", mode, exit, out)
		}
		for _, ns := range lines[3:] {
			name, _, _ := strings.Cut(ns, ":")
			host, err := os.Readlink("/proc/self/ns/" + name)
			must(t, err)
			if host == ns {
				t.Errorf("%s: it is in the host's %s", mode, ns)
			}
		}
	}
}

func TestSandboxMounts(t *testing.T) {
	root := busyboxLayer(t)
	data, file := newDir(t), newDir(t)+"/file"
	must(t, os.WriteFile(data+"/a", []byte("a\n"), 0o644))
	must(t, os.WriteFile(file, []byte("f\n"), 0o666))
	must(t, os.Chmod(data, 0o777))
	link := newDir(t) + "/link"
	must(t, os.Symlink("/etc", link))
	cfg := boxConfig(t, `cat /data/a /x/one; echo b > /rw/b; (echo c > /data/c) 2>/dev/null || echo read-only; df -kP /mem | tail -1 | awk '{print $2}'; touch /mem/x; grep -c canary /etc/hosts; cat /etc/resolv.conf; ls -l /dev/fuse 2>/dev/null | cut -c 1`, root)
	hosts, resolv := newDir(t)+"/h", newDir(t)+"/r"
	must(t, os.WriteFile(hosts, []byte("127.0.0.9 canary\n"), 0o644))
	must(t, os.WriteFile(resolv, []byte("nameserver 127.0.0.9\n"), 0o644))
	must(t, os.WriteFile(root+"/etc/hosts", nil, 0o644))
	must(t, os.WriteFile(root+"/etc/resolv.conf", nil, 0o644))
	cfg.Sandbox.Hosts, cfg.Sandbox.ResolvConf = hosts, resolv
	cfg.Sandbox.Mounts = []Mount{
		{Source: data, Target: "/data", ReadOnly: true}, {Source: data, Target: "/rw"}, {Source: file, Target: "/x/one"},
		{Target: "/mem", Memory: true, Size: 5 << 20},
	}
	exit, out := runToEnd(t, cfg)
	if want := "a\nf\nread-only\n5120\n1\nnameserver 127.0.0.9\n"; exit.Code != 0 || out[StreamStdout] != want {
		t.Errorf("%+v, wrote %q, want %q", exit, out, want)
	}
	if _, err := os.Stat(data + "/b"); err != nil {
		t.Error(err)
	}
	cfg = boxConfig(t, "", root)
	cfg.Sandbox.Mounts = []Mount{{Source: link, Target: "/data"}}
	if exit := wait(t, start(t, cfg)); exit.Reason != StartFailed || !strings.Contains(exit.Message, "symbolic link") {
		t.Errorf("a source that is a link: %+v", exit)
	}
}

// A device of the host can be used where it was given, and nowhere else.
func TestSandboxDevices(t *testing.T) {
	all := []string{"/dev/loop-control", "/dev/fuse", "/dev/ubda"}
	i := slices.IndexFunc(all, func(path string) bool { _, err := os.Stat(path); return err == nil })
	if i < 0 || os.Geteuid() != 0 {
		t.Skipf("only root can give devices, and needs one of %q", all)
	}
	device := all[i]
	st, err := os.Stat(device)
	must(t, err)
	root := busyboxLayer(t)
	must(t, os.Chmod(device, 0o666))
	defer os.Chmod(device, st.Mode().Perm())
	for name, tt := range map[string]struct {
		given []Device
		want  string
	}{
		"not given":          {nil, ""},
		"given":              {[]Device{{Path: device, Access: "rw"}}, device + "\nread\nwritten\n"},
		"to be read":         {[]Device{{Path: device, Access: "r"}}, device + "\nread\n"},
		"to be written":      {[]Device{{Path: device, Access: "w"}}, device + "\nwritten\n"},
		"under another name": {[]Device{{Path: device, Target: "/dev/box/loop", Access: "r"}}, "/dev/box/loop\nread there\n"},
	} {
		cfg := boxConfig(t, `d=`+device+`; ls $d /dev/box/loop 2>/dev/null; (: < $d) 2>/dev/null && echo read; [ -e $d ] && (: >> $d) 2>/dev/null && echo written; (: < /dev/box/loop) 2>/dev/null && echo read there; for d in null zero full random urandom tty ptmx pts shm mqueue fd stdin stdout stderr; do ls -d /dev/$d >/dev/null || echo no $d; done; echo x > /dev/null; head -c 3 /dev/zero | wc -c`, root)
		cfg.Sandbox.Devices = tt.given
		if exit, out := runToEnd(t, cfg); out[StreamStdout] != tt.want+"3\n" {
			t.Errorf("%s: %+v, %q", name, exit, out)
		}
	}
}

// The host's shared memory, message queues and System V objects, where they are asked
// for: by the rights of the sandbox's users, and with no other namespace of the host.
func TestSandboxSharesIPC(t *testing.T) {
	const key = 0x616764
	id, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|0o666)
	must(t, err)
	defer func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) }()
	f, err := os.CreateTemp("/dev/shm", "agentctl-ipc-")
	must(t, err)
	defer os.Remove(f.Name())
	must(t, errors.Join(f.Chmod(0o666), f.Close()))
	own, err := os.Readlink("/proc/self/ns/ipc")
	must(t, err)
	script := fmt.Sprintf(`grep -q ' *%d ' /proc/sysvipc/shm && echo segment; [ -e %[2]s ] && (echo x > %[2]s) && cat %[2]s; [ "$(readlink /proc/self/ns/ipc)" = %[3]s ] && echo same; touch /dev/shm/mine-$1 && rm /dev/shm/mine-$1 && echo writable`, key, f.Name(), own)
	for shared, want := range map[bool]string{false: "writable\n", true: "segment\nx\nsame\nwritable\n"} {
		cfg := boxConfig(t, script, busyboxLayer(t))
		cfg.Args = append(cfg.Args, "sh", filepath.Base(cfg.Dir))
		cfg.Sandbox.HostIPC = shared
		if exit, out := runToEnd(t, cfg); exit.Code != 0 || out[StreamStdout] != want {
			t.Errorf("shared %v: %+v, wrote %q, want %q", shared, exit, out, want)
		}
	}
}

func TestSandboxCapabilities(t *testing.T) {
	cfg := boxConfig(t, `grep Cap /proc/self/status`, busyboxLayer(t))
	cfg.Sandbox.CapAdd = []string{"CAP_KILL", "CAP_NET_BIND_SERVICE"}
	exit, out := runToEnd(t, cfg)
	want := "CapInh:\t0000000000000000\nCapPrm:\t0000000000000420\nCapEff:\t0000000000000420\nCapBnd:\t0000000000000420\nCapAmb:\t0000000000000000\n"
	if exit.Code != 0 || out[StreamStdout] != want {
		t.Errorf("%+v, wrote %q, want %q", exit, out, want)
	}
}
