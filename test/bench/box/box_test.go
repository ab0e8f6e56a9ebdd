//go:build bench

package box

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// contestant runs commands in sandboxes.
type contestant struct {
	name string
	// ready does what may be done before the clock runs, and returns what starts a
	// sandbox of that name.
	ready func(t *testing.T, id string, args []string) func() (*running, error)
	// few tells that it hangs where many start at once.
	few bool
	// daemons are processes that all of its sandboxes share.
	daemons func() []int
}

// running is a sandbox with its command.
type running struct {
	first func() error // waits for the first byte; io.EOF if the end comes before it
	wait  func() error
	kill  func()
	pids  func() []int // the processes that it began with
}

// byCommand is a sandbox that another program runs in the foreground.
func byCommand(cmd *exec.Cmd, kill func(), more func() []int) (*running, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	said := &tail{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(deadline, func() { _ = cmd.Process.Kill() })
	return &running{
		first: func() error {
			var one [1]byte
			_, err := io.ReadFull(out, one[:])
			return err
		},
		wait: func() error {
			defer late.Stop()
			_, _ = io.Copy(io.Discard, out)
			if err := cmd.Wait(); err != nil {
				return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, said.text)
			}
			return nil
		},
		kill: func() {
			defer late.Stop()
			kill()
			_, _ = io.Copy(io.Discard, out)
			_ = cmd.Wait()
		},
		pids: func() []int { return append([]int{cmd.Process.Pid}, more()...) },
	}, nil
}

// deadline ends what hangs.
const deadline = 3 * time.Minute

// tail keeps what a program complained about last.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-2000):]
	return len(p), nil
}

// command is a contestant that is a program.
func command(name string, args func(t *testing.T, id string, args []string) []string, kill func(id string, pid int), more func(id string) []int) contestant {
	return contestant{name: name, ready: func(t *testing.T, id string, cmd []string) func() (*running, error) {
		all := args(t, id, cmd)
		return func() (*running, error) {
			c := exec.Command(all[0], all[1:]...)
			return byCommand(c, func() { kill(id, c.Process.Pid) }, func() []int { return more(id) })
		}
	}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quietly runs a command that cleans up: what it did not find is gone already.
func quietly(args ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	_ = exec.CommandContext(ctx, args[0], args[1:]...).Run()
}

func loud(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

// scratch is a folder for the whole run that other users can pass through.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agentctl-box-")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
