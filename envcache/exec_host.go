package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// termGrace is the time between SIGTERM and SIGKILL for a program whose context
// ended: enough for git to remove its lock files.
const termGrace = 3 * time.Second

// HostExec runs programs on the host, each in a process group of its own. When
// the context ends, or the program does, or this process, the rest of the group is
// killed.
type HostExec struct{}

// Run runs c to its end.
func (HostExec) Run(ctx context.Context, c Cmd) (Exit, error) {
	if err := context.Cause(ctx); err != nil {
		return Exit{}, err
	}
	type result struct {
		exit Exit
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// The kernel sends the parent death signal when the thread that started
		// the program ends, so that thread must live as long as the program.
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		exit, err := run(ctx, c)
		done <- result{exit, err}
	}()
	r := <-done
	return r.exit, r.err
}

func run(ctx context.Context, c Cmd) (Exit, error) {
	cmd, err := command(c)
	if err != nil {
		return Exit{}, err
	}
	watch, err := newWatcher()
	if err != nil {
		return Exit{}, err
	}
	if err := cmd.Start(); err != nil {
		watch.stop()
		return Exit{}, fmt.Errorf("cannot run %s: %w", c.Args[0], err)
	}
	group := &group{id: cmd.Process.Pid}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	stop := context.AfterFunc(ctx, group.end)
	if err := watch.over(group.id); err != nil {
		giveUp(fmt.Errorf("cannot watch over it: %w", err))
	}
	leave := func() {}
	if c.Nice {
		leave = session(group.id).attend(c.Lift, giveUp)
	}
	group.sweep(func() { leave(); watch.stop() })
	err = cmd.Wait()
	ended := !stop()
	if cause := context.Cause(ctx); ended && cause != nil {
		return exitOf(cmd), fmt.Errorf("%s was stopped: %w", filepath.Base(c.Args[0]), cause)
	}
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) && !errors.Is(err, exec.ErrWaitDelay) {
		return exitOf(cmd), fmt.Errorf("cannot run %s: %w", c.Args[0], err)
	}
	return exitOf(cmd), nil
}

func command(c Cmd) (*exec.Cmd, error) {
	path, err := lookPath(c)
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{
		Path: path, Args: c.Args, Env: append([]string{}, c.Env...), Dir: c.Dir,
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, ExtraFiles: c.Files,
		// A session of its own is a group of its own as well.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: !c.Nice, Setsid: c.Nice, Pdeathsig: syscall.SIGKILL, Credential: credential(c.UID, c.GID)},
		// A program that left the group may keep a pipe open for ever.
		WaitDelay: termGrace,
	}, nil
}

func exitOf(cmd *exec.Cmd) Exit {
	st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && st.Signaled() {
		return Exit{Code: -1, Signal: st.Signal().String()}
	}
	return Exit{Code: cmd.ProcessState.ExitCode()}
}

// credential is nil where nothing is to be changed: setting even the own ids
// needs a privilege.
func credential(uid, gid int) *syscall.Credential {
	if os.Geteuid() != 0 || uid <= 0 {
		return nil
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(max(gid, 0))}
}

// lookPath finds the program in the PATH that it will have itself.
func lookPath(c Cmd) (string, error) {
	if len(c.Args) == 0 {
		return "", errors.New("cannot run an empty command")
	}
	name := c.Args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range c.Env {
		path, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			full := filepath.Join(dir, name)
			if info, err := os.Stat(full); err == nil && filepath.IsAbs(full) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return full, nil
			}
		}
	}
	return "", fmt.Errorf("cannot run %s: %w", name, &fs.PathError{Op: "look up", Path: name, Err: exec.ErrNotFound})
}

// group is a process group that may be killed as long as its leader is not
// reaped; afterwards its id may be another's.
type group struct {
	id     int
	mu     sync.Mutex
	reaped bool
	timer  *time.Timer
}

func (g *group) signal(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.reaped {
		_ = syscall.Kill(-g.id, sig)
	}
}

// end asks the group to go and kills it after the grace.
func (g *group) end() {
	g.signal(syscall.SIGTERM)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer = time.AfterFunc(termGrace, func() { g.signal(syscall.SIGKILL) })
}

// sweep waits for the leader to end, without reaping it, and kills what is left
// of its group. leave is called before the leader's id may be another's.
func (g *group) sweep(leave func()) {
	for {
		err := unix.Waitid(unix.P_PID, g.id, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	g.signal(syscall.SIGKILL)
	leave()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reaped = true
	if g.timer != nil {
		g.timer.Stop()
	}
}
