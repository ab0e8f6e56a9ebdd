package runtime

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Both versions of cgroups are read, all devices added up, and what is no number of bytes
// counts for nothing.
func TestTraffic(t *testing.T) {
	for text, want := range map[string][2]int64{
		"": {},
		"8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n": {11, 22},
		"8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:16 Read 1\nTotal 31\n":                 {11, 20},
		"8:0 rbytes=x wbytes=-4\n8:0 Read\n":                                              {},
	} {
		if read, written := trafficOf(text); read != want[0] || written != want[1] {
			t.Errorf("%q: %d, %d, want %v", text, read, written, want)
		}
	}
}

// What a task writes to a disk is seen, as soon as it is on it.
func TestSandboxTraffic(t *testing.T) {
	needLimits(t)
	dir := newDir(t)
	var at unix.Stat_t
	must(t, unix.Stat(dir, &at))
	if unix.Major(at.Dev) == 0 {
		t.Skip("the temporary folder is on no device")
	}
	must(t, os.Chmod(dir, 0o777)) //nolint:gosec // of the test alone
	task := staying(t, func(cfg *Config) {
		cfg.Sandbox.Mounts = append(cfg.Sandbox.Mounts, Mount{Source: dir, Target: "/disk"})
	})
	// Past the caches: with cgroup v1 those who fill them are not those who write.
	code, err := Exec(context.Background(), task.Dir(), ExecConfig{Args: sh(`dd if=/dev/zero of=/disk/file bs=1048576 count=4 oflag=direct`), Env: []string{"PATH=/bin"}})
	must(t, err)
	u, err := task.Usage()
	must(t, err)
	if code != 0 || u.Written < 4<<20 {
		t.Errorf("exit code %d, it uses %+v", code, u)
	}
}
