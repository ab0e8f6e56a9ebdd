//go:build bench

package box

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// debian names the packages of the programs that take part.
var debian = map[string]string{"runc": "runc", "crun": "crun", "bwrap": "bubblewrap", "podman": "podman", "dockerd": "docker.io", "docker": "docker.io", "gcc": "gcc"}

// have tells whether a program is here, after an attempt to install it.
func have(t *testing.T, program string) bool {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return true
	}
	if os.Geteuid() == 0 {
		cmd := exec.Command("apt-get", "install", "-y", "--no-install-recommends", debian[program])
		// Debian starts services as it installs them; the bench has its own.
		policy := filepath.Join(t.TempDir(), "policy-rc.d")
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "POLICYRCD="+policy)
		must(t, os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("cannot install %s: %v: %s", debian[program], err, out)
		}
	}
	_, err := exec.LookPath(program)
	if err != nil {
		fmt.Printf("left out: %s is not installed\n", program)
	}
	return err == nil
}

// startDocker starts a dockerd of the bench's own and returns its client's command
// line, nil if there is none.
func startDocker(t *testing.T, dir string) (cli []string, daemons func() []int) {
	t.Helper()
	if os.Geteuid() != 0 || !have(t, "dockerd") || !have(t, "docker") {
		return nil, nil
	}
	docker := filepath.Join(dir, "docker")
	must(t, os.Mkdir(docker, 0o711))
	host := "unix://" + docker + "/socket"
	log, err := os.Create(docker + "/log")
	must(t, err)
	defer log.Close() // the daemon has its own
	cmd := exec.Command("dockerd", "--data-root", docker+"/data", "--exec-root", docker+"/exec", "--pidfile", docker+"/pid", "--host", host,
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--config-file", docker+"/none.json")
	must(t, os.WriteFile(docker+"/none.json", []byte("{}\n"), 0o644))
	cmd.Stdout, cmd.Stderr = log, log
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-ended
		}
		loosen(docker)
	})
	cli = []string{"docker", "--host", host}
	for deadline := time.Now().Add(time.Minute); exec.Command(cli[0], append(cli[1:], "info")...).Run() != nil; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(docker + "/log")
			fmt.Printf("left out: dockerd does not start: %s\n", text[max(0, len(text)-1000):])
			return nil, nil
		}
	}
	return cli, func() []int { return mentioning(docker + "/") }
}

// startPodman has a store of its own.
func startPodman(t *testing.T, dir string) []string {
	t.Helper()
	if !have(t, "podman") {
		return nil
	}
	store := filepath.Join(dir, "podman")
	t.Cleanup(func() { loosen(store) })
	return []string{"podman", "--root", store + "/data", "--runroot", store + "/run"}
}

// loosen unmounts what a program left mounted below a folder, so that it can be
// removed.
func loosen(dir string) {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			_ = syscall.Unmount(f[4], syscall.MNT_DETACH)
		}
	}
}

// machine says where the numbers are from.
func machine() string {
	word := func(args ...string) string {
		out, err := exec.Command(args[0], args[1:]...).Output()
		if err != nil {
			return args[0] + " absent"
		}
		first, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimSpace(first)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return strings.Join([]string{
		"Linux " + word("uname", "-r"), strconv.Itoa(cpus()) + " CPUs", "load " + strings.Join(strings.Fields(string(load))[:3], " "),
		word("runc", "--version"), word("crun", "--version"), word("bwrap", "--version"), word("podman", "--version"), word("dockerd", "--version"),
	}, "; ")
}
