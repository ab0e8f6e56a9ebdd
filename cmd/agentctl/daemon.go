package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/internal/fsx"
	"agentctl/spec"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

func (a *app) daemonCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "daemon", Short: "Add a worker, by the flags of clearml-agent daemon",
		Long: `Add a worker to this node, by the flags of "clearml-agent daemon" 3.0.3. A link to
agentctl that is called clearml-agent does the same.

The worker is contributed to the agent that runs here; where none runs, one is
started, which takes its server from clearml.conf and the CLEARML_ variables, and
else has an embedded one. The command returns when the worker is ready: the agent
does the work. With --foreground it stays, shows the console of the worker's task,
and removes the worker at SIGTERM: its task goes on to its end, unless a second
signal comes. A worker stays until "daemon --stop", also over a restart of the
agent; "agentctl get workers -o wide" shows where each comes from.

The id of a worker is that of clearml-agent: HOST:gpu0, HOST:cpu:0, HOST:0, or
CLEARML_WORKER_ID. One that is there already is refused, unless its command is
gone, or it was added before the machine was last started. A node whose spec
comes from a git repository takes none. --print shows what to write into node.yaml
instead. Several words may follow a flag, flags may be abbreviated, and @FILE
stands for the lines of a file, as with clearml-agent.`,
		Example: "  agentctl daemon --queue default --docker --foreground\n  agentctl daemon --queue gpu --gpus 0 --docker \"python:3.12 --shm-size 8g\"\n" +
			"  agentctl daemon --gpus 0 --stop\n  agentctl daemon --queue services --services-mode 20 --print > node.yaml",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.daemonOf(cmd.Flags())
			if err != nil {
				return err
			}
			return d.run(cmd.Context())
		},
	}
	registerDaemonFlags(cmd)
	return cmd
}

func (d *daemonRun) run(ctx context.Context) error {
	for _, s := range d.says {
		d.say("%s", s)
	}
	c := d.client()
	defer c.Close()
	switch {
	case d.stop:
		return d.stopWorkers(ctx, c)
	case d.status:
		return d.showStatus(ctx, c)
	}
	w, err := d.wanted(ctx)
	if err != nil {
		return err
	}
	if d.print {
		return d.show(w)
	}
	reply, started, err := d.contribute(ctx, c, w)
	var refused *control.Error
	if errors.As(err, &refused) && len(refused.Problems) > 0 {
		return d.invalid(refused.Problems)
	}
	if err != nil {
		return err
	}
	if reply.Replaced {
		d.say("the worker %s was there already, and nobody stayed with it: it is as these flags say now", reply.Contribution.ID)
	}
	d.listening(reply.Contribution)
	if d.foreground {
		return d.follow(ctx, c, reply.Contribution, started)
	}
	return d.untilReady(ctx, c, reply)
}

// answerTime is how long an agent may take to answer what a signal does not end.
const answerTime = time.Minute

// contribute adds the workers to an agent, and says whether it was started for that.
func (d *daemonRun) contribute(ctx context.Context, c *control.Client, w *wantedWorkers) (r control.ContributeReply, started bool, err error) {
	done, err := d.oneAtATime(ctx)
	if err != nil {
		return r, false, err
	}
	defer done()
	if started, err = d.ready(ctx, c, w); err != nil {
		return r, started, err
	}
	if d.foreground { // else a signal now would leave workers there that nobody stays with
		var cancel func()
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
	}
	r, err = c.Contribute(ctx, control.ContributeRequest{
		ID: w.id, Slot: w.slot, Workers: w.groups, Git: w.git, Command: d.command, Follow: d.foreground,
	})
	return r, started, err
}

// oneAtATime keeps commands apart that find no agent: each would give the one that is
// started a spec, and the second takes the place of the first, secrets and all.
func (d *daemonRun) oneAtATime(ctx context.Context) (done func(), err error) {
	path := d.secretFile("lock")
	// Users of tasks pass through it to their environments; nobody lists it.
	err = os.MkdirAll(d.state, 0o711)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	var lock *fsx.Lock
	if err == nil {
		lock, err = fsx.WaitLock(ctx, path)
	}
	switch {
	case errors.Is(err, fs.ErrPermission): // another user has been here: no reason to refuse
		return func() {}, nil
	case err != nil:
		return nil, fmt.Errorf("cannot wait for other commands: %w", err)
	}
	return func() { _ = lock.Close() }, nil
}

// listening says what the worker does, as clearml-agent does.
func (d *daemonRun) listening(c control.Contribution) {
	if d.quiet {
		return
	}
	fmt.Fprintf(d.Stdout, "Worker %q - Listening to queues: %s\n", c.ID,
		strings.Join(lo.Uniq(lo.FlatMap(c.Workers, func(g spec.WorkerSpec, _ int) []string { return g.Queues })), ", "))
}
