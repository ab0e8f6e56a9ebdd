package envcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sh(script string) Cmd {
	return Cmd{Args: []string{"sh", "-c", script}, Env: []string{"PATH=" + defaultPath}, Dir: "/", UID: SameUser, GID: SameUser}
}

func TestHostExecTellsHowAProgramEnded(t *testing.T) {
	for _, tc := range []struct {
		script string
		want   Exit
	}{
		{"exit 0", Exit{}},
		{"exit 7", Exit{Code: 7}},
		{"kill -9 $$", Exit{Code: -1, Signal: "killed"}},
	} {
		got, err := HostExec{}.Run(t.Context(), sh(tc.script))
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v", tc.script, got, err)
		}
	}
}

func TestHostExecGivesExactlyTheEnvironment(t *testing.T) {
	t.Setenv("LEAK", "secret")
	var out bytes.Buffer
	c := sh("env; cat; cat <&3; pwd")
	c.Env, c.Stdin, c.Stdout = append(c.Env, "A=b"), strings.NewReader("in "), &out
	f, err := os.Open("/proc/self/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.Files = []*os.File{f}
	if _, err := (HostExec{}).Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "A=b") || strings.Contains(s, "LEAK") || !strings.Contains(s, "in ") || !strings.HasSuffix(s, "/\n") {
		t.Fatalf("output %q", s)
	}
}

func TestHostExecWithoutAProgram(t *testing.T) {
	c := sh("")
	c.Args = []string{"no-such-program"}
	if _, err := (HostExec{}).Run(t.Context(), c); !errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("err = %v", err)
	}
	c.Args = []string{"/etc/passwd"}
	if _, err := (HostExec{}).Run(t.Context(), c); !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("err = %v", err)
	}
}

// A program that ignores SIGTERM, and its child, are gone when Run returns.
func TestHostExecKillsTheGroup(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	pids := filepath.Join(t.TempDir(), "pids")
	c := sh(fmt.Sprintf(`trap "" TERM; sleep 600 & echo $$ $! > %s; while :; do sleep 600; done`, pids))
	go func() {
		for ctx.Err() == nil {
			if data, _ := os.ReadFile(pids); strings.HasSuffix(string(data), "\n") {
				cancel(stop)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := HostExec{}.Run(ctx, c)
	if !errors.Is(err, stop) {
		t.Fatalf("err = %v", err)
	}
	data, _ := os.ReadFile(pids)
	gone(t, strings.Fields(string(data)))
}

// What a program leaves in its group is killed when it ends by itself.
func TestHostExecLeavesNoChild(t *testing.T) {
	var out bytes.Buffer
	c := sh("sleep 600 & echo $!")
	c.Stdout = &out
	if _, err := (HostExec{}).Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	gone(t, strings.Fields(out.String()))
}

// gone waits until processes are dead; a zombie counts, its parent is not ours.
func gone(t *testing.T, pids []string) {
	t.Helper()
	for _, pid := range pids {
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			if err != nil || strings.Contains(string(stat), ") Z") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %s lives on: %s", pid, stat)
			}
		}
	}
}

func TestHostExecAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run programs as somebody else")
	}
	var out bytes.Buffer
	c := sh("id -u; id -g; id -G")
	c.UID, c.GID, c.Stdout = 65534, 65534, &out
	if _, err := (HostExec{}).Run(t.Context(), c); err != nil || out.String() != "65534\n65534\n65534\n" {
		t.Fatalf("%q, %v", out.String(), err)
	}
}

// What a program started dies with the process that ran it, however that ends: the
// workers of a compiler that was killed would hold their environment's lock for ever.
func TestNothingOutlivesAKilledAgent(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), runVar+"="+fmt.Sprintf(`sleep 600 & echo $$ $! > %s; wait`, pids))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started := numbersOf(t, pids, 2)
	until(t, "the agent to have done all it does at the start of a program", func() string {
		if got := sharing(started[1]); !strings.HasPrefix(got, "policy 5 ") {
			return got
		}
		return ""
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for _, pid := range started {
		gone(t, []string{fmt.Sprint(pid)})
	}
}

// runVar makes this test's program run a shell script in the background, as an agent
// does.
const runVar = "ENVCACHE_TEST_RUN"

func playRun() {
	c := sh(os.Getenv(runVar))
	c.Nice = true
	_, err := HostExec{}.Run(context.Background(), c)
	fmt.Println(err)
}
