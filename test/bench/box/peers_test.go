//go:build bench

package box

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func nobody(string) []int { return nil }

func killed(_ string, pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

// plainRoot unpacks an image for programs that take a folder.
func plainRoot(t *testing.T, dir string, img v1.Image) string {
	t.Helper()
	root := filepath.Join(dir, "root")
	must(t, os.Mkdir(root, 0o755))
	files := mutate.Extract(img)
	defer files.Close()
	tar := exec.Command("tar", "-xp", "-C", root)
	tar.Stdin = files
	out, err := tar.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	owner := strconv.Itoa(idBase)
	loud(t, "chown", "-hR", owner+":"+owner, root)
	return root
}

// floor is the least that there can be.
func floor(t *testing.T, dir, root string) contestant {
	t.Helper()
	program, stage := filepath.Join(dir, "floor"), filepath.Join(dir, "stage")
	loud(t, "gcc", "-O2", "-o", program, "testdata/floor.c")
	must(t, os.Mkdir(stage, 0o755))
	return command("floor: clone3, pivot_root, exec", func(_ *testing.T, _ string, args []string) []string {
		return append([]string{program, root, stage}, args...)
	}, killed, nobody)
}

func bubblewrap(root string) contestant {
	return command("bubblewrap", func(_ *testing.T, _ string, args []string) []string {
		return append([]string{"bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--die-with-parent",
			"--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--setenv", "PATH", "/usr/bin:/bin", "--"}, args...)
	}, killed, nobody)
}

// runtimeSpec is the config.json of runc and crun.
func runtimeSpec(t *testing.T, root, id string, args []string) *specs.Spec {
	t.Helper()
	spec := specconv.Example()
	spec.Version = "1.0.2" // crun of Debian 12 knows no newer one
	spec.Root = &specs.Root{Path: root}
	spec.Hostname = id
	p, l := spec.Process, spec.Linux
	p.Terminal, p.NoNewPrivileges, p.Args, p.Env = false, true, args, []string{"PATH=/usr/bin:/bin"}
	p.Capabilities, p.Rlimits = &specs.LinuxCapabilities{}, nil
	l.Namespaces = nil
	for _, n := range []specs.LinuxNamespaceType{specs.UserNamespace, specs.PIDNamespace, specs.MountNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace} {
		l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: n})
	}
	l.UIDMappings = []specs.LinuxIDMapping{{HostID: idBase, Size: 65536}}
	l.GIDMappings = l.UIDMappings
	l.CgroupsPath = "/agentctl-box/" + id
	for i, m := range spec.Mounts {
		if m.Destination == "/sys" { // with the host's network the kernel makes no new one
			spec.Mounts[i] = specs.Mount{Destination: "/sys", Source: "/sys", Type: "bind", Options: []string{"rbind", "ro", "nosuid", "nodev", "noexec"}}
		}
	}
	profile, err := seccomp.GetDefaultProfile(spec)
	must(t, err)
	profile.Architectures = profile.Architectures[:1]
	l.Seccomp = profile
	return spec
}

// ociRuntime is runc or crun.
func ociRuntime(name, dir, root string) contestant {
	state := filepath.Join(dir, name)
	return command(name, func(t *testing.T, id string, args []string) []string {
		id = name + "-" + id
		bundle := filepath.Join(dir, "bundles", id)
		must(t, os.MkdirAll(bundle, 0o755))
		data, err := json.Marshal(runtimeSpec(t, root, id, args))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(bundle, "config.json"), data, 0o644))
		return []string{name, "--root", state, "run", "--bundle", bundle, id}
	}, func(id string, _ int) { quietly(name, "--root", state, "delete", "--force", name+"-"+id) }, nobody)
}

// engine is podman or docker, by the command with its folders.
func engine(name string, cli []string, ref string, daemons func() []int, flags ...string) contestant {
	c := command(name, func(_ *testing.T, id string, args []string) []string {
		run := append(append(cli[:len(cli):len(cli)], "run", "--rm", "--network=host", "--name", id), flags...)
		return append(append(run, ref), args...)
	}, func(id string, _ int) { quietly(append(cli[:len(cli):len(cli)], "rm", "-f", id)...) },
		func(id string) []int {
			out, err := exec.Command(cli[0], append(cli[1:len(cli):len(cli)], "inspect", "-f", "{{.Id}}", id)...).Output()
			if err != nil {
				return nil
			}
			return mentioning(string(out))
		})
	c.daemons = daemons
	return c
}
