package runtime

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentctl/runtime/internal/packet"
	"agentctl/runtime/internal/record"
)

// staying starts a task in a sandbox that stays until it is killed.
func staying(t *testing.T, change func(*Config)) *Task {
	t.Helper()
	cfg := boxConfig(t, `echo staying; while :; do sleep 1; done`, busyboxLayer(t))
	if change != nil {
		change(&cfg)
	}
	task := start(t, cfg)
	untilHidden(t, cfg)
	eventually(t, "it takes an exec", func() bool {
		_, err := os.Stat(filepath.Join(cfg.Dir, record.ExecSocket))
		return err == nil
	})
	return task
}

func TestExec(t *testing.T) {
	task := staying(t, nil)
	var out, errOut strings.Builder
	code, err := Exec(context.Background(), task.Dir(), ExecConfig{
		Args: []string{"sh", "-c", `cat; echo "$A"; echo bad >&2; echo again >/dev/stdout; pwd; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; ls /proc/self/fd | wc -l; exit 6`},
		Env:  []string{"PATH=/bin", "A=b c"}, Stdin: strings.NewReader("input\n"), Stdout: &out, Stderr: &errOut,
	})
	want := "input\nb c\nagain\n/\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n4\n"
	if err != nil || code != 6 || out.String() != want || errOut.String() != "bad\n" {
		t.Errorf("%d, %v, wrote %q and %q, want %q", code, err, out.String(), errOut.String(), want)
	}
	long := strings.Repeat("x", 100_000)
	out.Reset()
	code, err = Exec(context.Background(), task.Dir(), ExecConfig{Args: []string{"sh", "-c", `echo ${#A}`}, Env: []string{"PATH=/bin", "A=" + long}, Stdout: &out})
	if err != nil || code != 0 || out.String() != "100000\n" {
		t.Errorf("with a long variable: %d, %v, %q", code, err, out.String())
	}
	st, err := os.Stat(filepath.Join(task.Dir(), record.ExecSocket))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", st, err)
	}
	for _, tt := range []struct{ program, want string }{
		{"/x/y", "no such file"}, {"nothing", "in none of the folders of PATH"}, {"/etc", "is a folder"},
	} {
		_, err := Exec(context.Background(), task.Dir(), ExecConfig{Args: []string{tt.program}, Env: []string{"PATH=/bin"}})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.program, err)
		}
	}
}

func TestExecOnATerminal(t *testing.T) {
	task := staying(t, nil)
	resize := make(chan Size, 1)
	resize <- Size{Rows: 33, Columns: 77}
	var out strings.Builder
	code, err := Exec(context.Background(), task.Dir(), ExecConfig{
		Args: []string{"sh", "-c", `tty; read line; echo "got $line"; stty size; exit 5`}, Env: []string{"PATH=/bin", "TERM=xterm"},
		TTY: true, Resize: resize, Stdin: strings.NewReader("hello\n"), Stdout: &out,
	})
	if err != nil || code != 5 || !strings.Contains(out.String(), "/dev/pts/0") || !strings.Contains(out.String(), "got hello") {
		t.Errorf("%d, %v, %q", code, err, out.String())
	}
}

// The caller goes, and what he started with him; the task ends, and what was
// executed beside it too.
func TestExecEnds(t *testing.T) {
	task := staying(t, nil)
	token := task.Dir() + "/exec-token"
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := Exec(ctx, task.Dir(), ExecConfig{Args: sh("sleep 1000; true", token), Env: []string{"PATH=/bin"}})
		failed <- err
	}()
	runs := func() bool {
		select {
		case err := <-failed:
			t.Fatalf("Exec: %v", err)
		default:
		}
		return len(running(t, token)) > 0
	}
	eventually(t, "it runs", runs)
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Exec: %v", err)
	}
	eventually(t, "it is killed", func() bool { return len(running(t, token)) == 0 })
	go func() {
		_, err := Exec(context.Background(), task.Dir(), ExecConfig{Args: sh("sleep 1000; true", token), Env: []string{"PATH=/bin"}})
		failed <- err
	}()
	eventually(t, "it runs", runs)
	must(t, task.Kill())
	wait(t, task)
	select {
	case <-failed:
	case <-time.After(patience):
		t.Error("Exec goes on when the task has ended")
	}
	if _, err := Exec(context.Background(), task.Dir(), ExecConfig{Args: sh("true")}); !errors.Is(err, ErrNoExec) {
		t.Errorf("Exec after the end: %v", err)
	}
	if _, err := Exec(context.Background(), newEnded(t), ExecConfig{Args: sh("true")}); !errors.Is(err, ErrNoExec) {
		t.Errorf("Exec without a sandbox: %v", err)
	}
}

// A caller who is gone before he could be told that his process runs leaves none.
func TestExecOfACallerWhoLeft(t *testing.T) {
	task := staying(t, nil)
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	for range 5 {
		conn, err := packet.Dial(context.Background(), task.Dir(), record.ExecSocket)
		must(t, err)
		order, err := packet.File(record.Exec{Args: sh("sleep 1000; true"), Env: []string{"PATH=/bin"}, Cwd: "/"})
		must(t, err)
		r, w, err := os.Pipe()
		must(t, err)
		must(t, conn.Send(record.ExecOrder{Version: record.Version}, order, null, w, w))
		must(t, errors.Join(conn.Close(), order.Close(), w.Close(), r.SetReadDeadline(time.Now().Add(patience))))
		if _, err := io.ReadAll(r); err != nil {
			t.Errorf("somebody holds its output still: %v", err)
		}
		must(t, r.Close())
	}
}

// Nobody who connects and says nothing keeps a task from its end.
func TestExecOfACallerWhoIsSilent(t *testing.T) {
	task := staying(t, nil)
	conn, err := packet.Dial(context.Background(), task.Dir(), record.ExecSocket)
	must(t, err)
	defer conn.Close()
	code, err := Exec(context.Background(), task.Dir(), ExecConfig{Args: []string{"true"}, Env: []string{"PATH=/bin"}})
	if err != nil || code != 0 { // and then the first one was accepted as well
		t.Errorf("%d, %v", code, err)
	}
	must(t, task.Kill())
	wait(t, task)
}
