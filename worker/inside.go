package worker

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"agentctl/envcache"
	"agentctl/internal/tree"
	"agentctl/runtime"

	"golang.org/x/sys/unix"
)

// An agent that is not root can't make, read or remove what belongs to the ids of its
// sandboxes. A child of it, in a user namespace where it is root and those ids are, can.

// insideOrder is what a child is to do: one of its fields.
type insideOrder struct {
	Remove  []string     `json:",omitempty"` // folders
	Give    *insideGive  `json:",omitempty"`
	Run     *insideRun   `json:",omitempty"`
	Build   *insideBuild `json:",omitempty"`
	Collect *insideKeep  `json:",omitempty"`
	Recheck string       `json:",omitempty"` // state folder
}

// insideGive publishes a tree and gives it away. Ids are those inside.
type insideGive struct {
	Top      string
	UID, GID int
}

// insideRun executes a command, with the child's own streams. Ids are those inside.
type insideRun struct {
	Args, Env []string
	Dir       string
	UID, GID  int
}

// insideKeep collects environments.
type insideKeep struct {
	State  string
	Limits envcache.Limits
}

// insideBuild builds an environment in a sandbox of the image that Base describes.
type insideBuild struct {
	State   string
	Root    string // folder of the task
	Outside runtime.Outside
	Base    runtime.Config
	Leases  int      // of the image, from descriptor runtime.DelegateFD on
	Hide    []string // from programs in the host's file system
	Image   string   // what the key says of it
	Owner   string
	Request envcache.Request
}

// insideAnswer is what a child says.
type insideAnswer struct {
	Progress  *envcache.Progress  `json:",omitempty"`
	Error     string              `json:",omitempty"`
	Hit       bool                `json:",omitempty"`
	Why       string              `json:",omitempty"`
	Code      int                 `json:",omitempty"` // of a command
	Collected *envcache.Collected `json:",omitempty"`
	Rechecked *envcache.Rechecked `json:",omitempty"`
}

// Inside is the life of such a child, which called runtime.AwaitRange. It returns its
// exit code.
func Inside() int {
	return runtime.Obey(func(ctx context.Context, o insideOrder, say func(insideAnswer)) insideAnswer {
		a, err := o.do(ctx, func(p envcache.Progress) { say(insideAnswer{Progress: &p}) })
		if err != nil {
			a.Error = err.Error()
		}
		return a
	})
}

func (o insideOrder) do(ctx context.Context, say func(envcache.Progress)) (a insideAnswer, err error) {
	switch {
	case o.Build != nil:
		return o.Build.do(ctx, say)
	case o.Give != nil:
		return a, tree.Publish(o.Give.Top, o.Give.UID, o.Give.GID)
	case o.Run != nil:
		exit, err := envcache.HostExec{}.Run(ctx, envcache.Cmd{
			Args: o.Run.Args, Env: o.Run.Env, Dir: o.Run.Dir, UID: o.Run.UID, GID: o.Run.GID, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		})
		a.Code = exit.Code
		return a, err
	case o.Collect != nil:
		return a, withEnvs(o.Collect.State, func(c *envcache.Cache) error {
			done, err := c.Collect(ctx, o.Collect.Limits)
			a.Collected = &done
			return err
		})
	case o.Recheck != "":
		return a, withEnvs(o.Recheck, func(c *envcache.Cache) error {
			done, err := c.Recheck(ctx)
			a.Rechecked = &done
			return err
		})
	}
	for _, dir := range o.Remove {
		err = errors.Join(err, runtime.RemoveAll(dir))
	}
	return a, err
}

// withEnvs opens the environments of the agent.
func withEnvs(state string, do func(*envcache.Cache) error) error {
	c, err := envcache.Open(state, envcache.Options{Log: insideLog()})
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.Close())
}

// insideLog goes where the agent's does.
func insideLog() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }

func (b *insideBuild) do(ctx context.Context, say func(envcache.Progress)) (a insideAnswer, err error) {
	task := taskBoxes{launcher: b.Outside.Inside(insideLog()), base: b.Base, root: b.Root, image: &Image{}, hide: b.Hide}
	for fd := runtime.DelegateFD; fd < runtime.DelegateFD+b.Leases; fd++ {
		unix.CloseOnExec(fd)
		task.image.Leases = append(task.image.Leases, os.NewFile(uintptr(fd), "lease"))
	}
	boxes, host := task.inside(), task.host("inside-host", false)
	boxes.name = "inside"
	end := func() error { return errors.Join(boxes.close(), host.close()) }
	err = withEnvs(b.State, func(c *envcache.Cache) error {
		req := b.Request
		req.Root, req.Host = &envcache.Root{ID: b.Image, Exec: boxes, Owner: b.Owner}, host
		l, err := c.Acquire(ctx, req, say)
		if err != nil {
			return errors.Join(err, end())
		}
		a.Hit, a.Why = l.Hit, l.Why
		return errors.Join(end(), l.Close())
	})
	return a, err
}
