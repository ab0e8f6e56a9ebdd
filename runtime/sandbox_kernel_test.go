package runtime

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"golang.org/x/sys/unix"
)

// disk is a block device of the host, with its number; "" if there is none.
func disk(t *testing.T) (path, number string) {
	t.Helper()
	files, err := filepath.Glob("/sys/block/*/dev")
	must(t, err)
	for _, f := range files {
		name := filepath.Base(filepath.Dir(f))
		if strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "loop") {
			continue
		}
		data, err := os.ReadFile(f)
		if _, serr := os.Stat("/dev/" + name); err == nil && serr == nil {
			return "/dev/" + name, strings.TrimSpace(string(data))
		}
	}
	return "", ""
}

// kernelFile is where a limit is held, and as what, by either version of cgroups.
type kernelFile struct{ v1, want1, v2, want2 string }

// kernelFiles are those of the limits of TestSandboxLimitsInTheKernel.
func kernelFiles(number string) map[string][]kernelFile {
	const pids = "62" // with the runner's threads
	return map[string][]kernelFile{
		"memory": {
			{"memory/memory.limit_in_bytes", "67108864", "memory.max", "67108864"},
			{"memory/memory.memsw.limit_in_bytes", "83886080", "memory.swap.max", "16777216"},
		},
		"cpu": {
			{"cpu/cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"},
			{"cpu/cpu.shares", "512", "cpu.weight", strconv.FormatUint(cgroups.ConvertCPUSharesToCgroupV2Value(512), 10)},
			{"cpuset/cpuset.cpus", "0", "cpuset.cpus", "0"},
		},
		"pids": {{"pids/pids.max", pids, "pids.max", pids}},
		"io": {
			{"blkio/blkio.throttle.read_bps_device", number + " 1048576", "io.max", number + " rbps=1048576 wbps=max riops=max wiops=77"},
			{"blkio/blkio.throttle.write_iops_device", number + " 77", "io.max", number + " rbps=1048576 wbps=max riops=max wiops=77"},
		},
	}
}

// The kernel holds the limits that were asked for, by whichever version of cgroups.
func TestSandboxLimitsInTheKernel(t *testing.T) {
	needLimits(t)
	device, number := disk(t)
	task := staying(t, func(cfg *Config) {
		cfg.Sandbox.Resources = Resources{Memory: 64 << 20, Swap: 16 << 20, CPUs: 0.5, CPUShares: 512, PIDs: 50}
		if find(must2(probed())(t).Sandbox, SandboxCPUSet).Works {
			cfg.Sandbox.Resources.CPUSet = "0"
		}
		if device != "" {
			cfg.Sandbox.Resources.IO = []IOLimit{{Device: device, ReadBPS: 1 << 20, WriteIOPS: 77}}
		}
	})
	groups := task.Handle().Groups
	for name, files := range kernelFiles(number) {
		t.Run("kernel "+name, func(t *testing.T) {
			for _, f := range files {
				path, want := filepath.Join(groups[""], f.v2), f.want2
				if groups["memory"] != "" {
					controller, rest, _ := strings.Cut(f.v1, "/")
					path, want = filepath.Join(groups[controller], rest), f.want1
				}
				have, err := os.ReadFile(path)
				if os.IsNotExist(err) && (strings.Contains(path, "memsw") || strings.Contains(path, "swap") || strings.Contains(path, "cpuset")) {
					t.Logf("this kernel has no %s", path)
					continue
				}
				if name == "io" && device == "" {
					t.Log("there is no disk to limit the use of")
					continue
				}
				if err != nil || strings.TrimSpace(string(have)) != want {
					t.Errorf("%s holds %q, %v, want %q", path, have, err, want)
				}
			}
		})
	}
	t.Run("kernel devices", func(t *testing.T) { devicesAsRunc(t, groups) })
}

// devicesAsRunc looks that what is in the sandbox's cgroups may use the devices that
// this very release of runc allows by default, and no other. No other is to be seen in
// the sandbox either, so a process of the host is put there to try.
func devicesAsRunc(t *testing.T, groups map[string]string) {
	if os.Geteuid() != 0 {
		t.Log("only root may open devices")
		return
	}
	spec := specconv.Example()
	usual, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: "x", Spec: spec})
	must(t, err)
	var script strings.Builder
	want := ""
	script.WriteString("read go; try() { (: < $1) 2>/dev/null && echo \"opened $1\"; }\n")
	for _, path := range []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/net/tun", "/dev/kmsg", "/dev/loop-control", "/dev/fuse", "/dev/vda", "/dev/ubda", "/dev/port"} {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			continue
		}
		fmt.Fprintf(&script, "try %s\n", path)
		if slices.ContainsFunc(usual.Cgroups.Devices, func(r *devices.Rule) bool {
			return r.Allow && r.Major == int64(unix.Major(st.Rdev)) && r.Minor == int64(unix.Minor(st.Rdev)) && r.Type == devices.CharDevice == (st.Mode&unix.S_IFMT == unix.S_IFCHR)
		}) {
			want += "opened " + path + "\n"
		}
	}
	cmd := exec.Command("/bin/sh", "-c", script.String()+"true")
	in, err := cmd.StdinPipe()
	must(t, err)
	var out strings.Builder
	cmd.Stdout = &out
	must(t, cmd.Start())
	for _, dir := range groups {
		must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0))
	}
	_, err = in.Write([]byte("go\n"))
	must(t, err)
	if err := cmd.Wait(); err != nil || out.String() != want {
		t.Errorf("%v: it opened\n%s\nwant\n%s", err, out.String(), want)
	}
}
