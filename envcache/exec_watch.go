package envcache

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// watcher kills a process group when this process is gone. The kernel does that
// for the group's leader alone: compilers that a killed installer started would go
// on writing, and the idle workers of a killed compiler would for ever hold the
// lock that they inherited.
//
// It is a shell that reads the group's id from a pipe and waits for the pipe's end,
// in a session of its own so that what ends this process does not end it as well.
// It is there before the program is, and told of it at once: a program that starts
// needs longer to start others.
type watcher struct {
	cmd  *exec.Cmd
	pipe *os.File
}

const watchScript = `read -r id && { read -r _; kill -9 "-$id"; }`

func newWatcher() (*watcher, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	cmd := exec.Command("/bin/sh", "-c", watchScript, "agentctl-watch")
	cmd.Env, cmd.Dir, cmd.Stdin = []string{"PATH=" + defaultPath}, "/", r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("cannot watch over a program: %w", err)
	}
	return &watcher{cmd, w}, nil
}

// over names the group.
func (w *watcher) over(id int) error {
	_, err := fmt.Fprintln(w.pipe, id)
	return err
}

// stop ends the watch without touching the group.
func (w *watcher) stop() {
	_ = w.cmd.Process.Kill() // first: what the shell reads is the end of this process
	_ = w.cmd.Wait()
	_ = w.pipe.Close()
}
