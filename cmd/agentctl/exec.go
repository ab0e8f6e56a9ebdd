package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"agentctl/reconcile"
	"agentctl/runtime"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (a *app) execCmd() *cobra.Command {
	return &cobra.Command{
		Use: "exec TASK -- COMMAND [ARGUMENT…]", Short: "Run a command inside a running task's sandbox",
		Long: `Run a command inside the sandbox of a task that runs on this node: as its user, with
its environment, its files and its limits, and confined as it is. On a terminal the
command has one. The beginning of the id is enough. The exit code is the command's.

Only who may read the state folder can do it: root, or the agent's own user.`,
		Example: "  agentctl exec 3f2a91c0 -- sh\n  agentctl exec 3f2a91c0 -- nvidia-smi",
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 1 || len(args) < 2 {
				return usagef("write exec TASK -- COMMAND")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.runningTask(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			code, err := a.execIn(cmd.Context(), dir, args[1:], cmd.InOrStdin())
			switch {
			case errors.Is(err, runtime.ErrNoExec):
				return fmt.Errorf("%w: exec works in workers of mode: sandbox", err)
			case err != nil:
				return err
			case code != 0:
				return &exitError{code: code}
			}
			return nil
		},
	}
}

// runningTask is the folder of the task that runs here and whose id begins with id.
func (a *app) runningTask(ctx context.Context, id string) (string, error) {
	c := a.client()
	defer c.Close()
	who, err := c.Agent(ctx)
	if err != nil {
		return "", err
	}
	s, err := c.Status(ctx)
	if err != nil {
		return "", err
	}
	found := runsHere(s, id)
	switch {
	case len(found) == 0:
		return "", fmt.Errorf("no task whose id begins with %q runs on this node", id)
	case len(found) > 1:
		return "", usagef("%q is the beginning of several ids: %s", id, strings.Join(found, ", "))
	}
	return filepath.Join(who.State, "tasks", found[0]), nil
}

func runsHere(s *reconcile.Snapshot, id string) (found []string) {
	for _, w := range s.Workers {
		if t := taskOf(w); id != "" && strings.HasPrefix(t.ID, id) {
			found = append(found, t.ID)
		}
	}
	return found
}

// execIn runs the command with this process's streams, or with its terminal.
func (a *app) execIn(ctx context.Context, dir string, args []string, in io.Reader) (int, error) {
	c := runtime.ExecConfig{Args: args, Stdin: in, Stdout: a.Stdout, Stderr: a.Stderr}
	tty, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(tty.Fd())) {
		return runtime.Exec(ctx, dir, c)
	}
	before, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return -1, fmt.Errorf("cannot use the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(tty.Fd()), before) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.TTY, c.Resize = true, sizes(ctx, int(tty.Fd()))
	return runtime.Exec(ctx, dir, c)
}

// sizes are those that the terminal has, from now until ctx ends.
func sizes(ctx context.Context, fd int) <-chan runtime.Size {
	changed, out := make(chan os.Signal, 1), make(chan runtime.Size)
	signal.Notify(changed, syscall.SIGWINCH)
	changed <- syscall.SIGWINCH
	go func() { // ends with ctx, which the caller cancels
		defer signal.Stop(changed)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			columns, rows, err := term.GetSize(fd)
			if err != nil {
				continue
			}
			select {
			case out <- runtime.Size{Rows: uint16(rows), Columns: uint16(columns)}: //nolint:gosec // a terminal is smaller
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
