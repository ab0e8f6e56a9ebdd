package envcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sharing is what the kernel says of a process: policy, niceness, class of I/O,
// oom_score_adj, and the niceness of its session where there is one.
func sharing(pid int) string {
	attr, err := unix.SchedGetAttr(pid, 0)
	if err != nil {
		return err.Error()
	}
	io, _, _ := unix.Syscall(unix.SYS_IOPRIO_GET, ioThread, uintptr(pid), 0)
	oom, _ := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	auto, _ := os.ReadFile(fmt.Sprintf("/proc/%d/autogroup", pid))
	_, nice, _ := strings.Cut(string(bytes.TrimSpace(auto)), " nice ")
	return fmt.Sprintf("policy %d nice %d io %d oom %s session %s", attr.Policy, attr.Nice, io>>13, bytes.TrimSpace(oom), nice)
}

func until(t *testing.T, what string, is func() string) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if last = is(); last == "" {
			return
		}
	}
	t.Fatalf("%s: %s", what, last)
}

// numbersOf reads the process ids that a script wrote to a file.
func numbersOf(t *testing.T, file string, n int) (pids []int) {
	t.Helper()
	until(t, "the script to start", func() string {
		data, _ := os.ReadFile(file)
		pids = nil
		for f := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				return fmt.Sprintf("%q", data)
			}
			pids = append(pids, pid)
		}
		if len(pids) < n || !strings.HasSuffix(string(data), "\n") {
			return fmt.Sprintf("%q", data)
		}
		return ""
	})
	return pids
}

// A program in the background and its children, early ones and late ones, are
// low, in a session of their own; all of them are raised when somebody waits, and
// all of them are gone in the end.
func TestHostExecNice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	early, late := filepath.Join(dir, "early"), filepath.Join(dir, "late")
	lift := make(chan struct{})
	c := sh(fmt.Sprintf(`sleep 600 & echo $$ $! > %s; while [ ! -e %s ]; do sleep 0.02; done; sleep 600 & echo $! > %s; wait`,
		early, filepath.Join(dir, "gate"), late))
	c.Nice, c.Lift = true, lift
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := HostExec{}.Run(ctx, c)
		ended <- err
	}()
	defer func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the program ended with %v", err)
		}
	}()
	auto := "" // where the kernel does not schedule sessions as groups
	if _, err := os.Stat("/proc/self/autogroup"); err == nil {
		auto = "19"
	}
	own, err := usual()
	if err != nil {
		t.Fatal(err)
	}
	low := fmt.Sprintf("policy 5 nice %d io 3 oom 1000 session %s", own.cpu.Nice, auto)
	is := func(pids []int, want string) {
		t.Helper()
		for _, pid := range pids {
			until(t, fmt.Sprintf("process %d of %v", pid, pids), func() string {
				if got := sharing(pid); got != want {
					return got + ", want " + want
				}
				return ""
			})
		}
	}
	pids := numbersOf(t, early, 2)
	is(pids, low)
	if sid, err := unix.Getsid(pids[1]); err != nil || sid != pids[0] {
		t.Errorf("the child is in session %d, %v", sid, err)
	}
	writeFiles(t, dir, map[string]string{"gate": ""})
	pids = append(pids, numbersOf(t, late, 1)...)
	is(pids, low)
	close(lift)
	if mayRaise(t) {
		if auto != "" {
			auto = "0"
		}
		is(pids, fmt.Sprintf("policy 0 nice %d io 0 oom %s session %s", own.cpu.Nice, own.oom, auto))
	}
	cancel()
	for _, pid := range pids {
		gone(t, []string{strconv.Itoa(pid)})
	}
}

// lowlyVar makes this test's program the agent of a user who may not raise priorities.
const lowlyVar = "ENVCACHE_TEST_LOWLY"

// mayRaise tells whether this process may raise priorities, as CAP_SYS_NICE allows.
func mayRaise(t *testing.T) bool {
	t.Helper()
	header, caps := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	if err := unix.Capget(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
	return caps[0].Effective&(1<<unix.CAP_SYS_NICE) != 0
}

// playLowly runs a program in the background that somebody waits for, while more
// sessions than one CPU can serve are busy, and prints how it ended.
func playLowly() {
	for range 9 {
		busy := exec.Command("sh", "-c", "while :; do :; done")
		busy.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := busy.Start(); err != nil {
			fmt.Println(err)
		}
		defer func() { _, _ = busy.Process.Kill(), busy.Wait() }()
	}
	lift := make(chan struct{})
	close(lift)
	c := sh("while :; do :; done")
	c.Nice, c.Lift = true, lift
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	_, err := HostExec{}.Run(ctx, c)
	fmt.Println(err)
}

// Who may not raise a priority ends a program that starves, so that it is run anew
// at a better one.
func TestHostExecDoesNotStarve(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), lowlyVar+"=1")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := onOneCPU(t, cmd)
	if want := "sh was stopped: " + errStarved.Error(); err != nil || strings.TrimSpace(out) != want {
		t.Errorf("%v: %s", err, out)
	}
}

// onOneCPU runs a program and all that it starts on one CPU.
func onOneCPU(t *testing.T, cmd *exec.Cmd) (string, error) {
	t.Helper()
	type result struct {
		out []byte
		err error
	}
	done := make(chan result)
	go func() {
		goruntime.LockOSThread() // and never unlocked: the thread goes with its affinity
		var all, one unix.CPUSet
		if err := unix.SchedGetaffinity(0, &all); err != nil {
			done <- result{nil, err}
			return
		}
		for cpu := 0; one.Count() == 0; cpu++ {
			if all.IsSet(cpu) {
				one.Set(cpu)
			}
		}
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			done <- result{nil, err}
			return
		}
		out, err := cmd.CombinedOutput()
		done <- result{out, err}
	}()
	r := <-done
	return string(r.out), r.err
}

func TestStarved(t *testing.T) {
	for _, tc := range []struct {
		before, now load
		want        bool
	}{
		{load{0, 0}, load{time.Second, 0}, false},
		{load{0, 0}, load{0, time.Second}, true},
		{load{time.Second, time.Second}, load{time.Second + 3*time.Millisecond, 2 * time.Second}, true},
		{load{0, 0}, load{500 * time.Millisecond, 500 * time.Millisecond}, false}, // shares a CPU
		{load{0, 0}, load{0, 50 * time.Millisecond}, false},                       // waits for the network
		{load{time.Second, 0}, load{0, time.Second}, false},                       // a process ended
	} {
		if got := tc.now.starved(tc.before); got != tc.want {
			t.Errorf("%v after %v: starved is %v", tc.now, tc.before, got)
		}
	}
}
