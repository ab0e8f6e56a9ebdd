package main

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"agentctl/envcache/repo"
	files "agentctl/internal/tree"
	"agentctl/runtime"
	"agentctl/runtime/image"
	"agentctl/spec"
	"agentctl/worker"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

// ranged makes ready for ids that are not this user's: a child of agentctl has them,
// and whoever is not root removes with such a child what belongs to them.
func ranged() error {
	if err := runtime.AwaitRange(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		files.Elevated = worker.RemoveFromRange
	}
	return nil
}

// inside is what an agent that is not root starts for what belongs to the ids of its
// sandboxes.
func inside() *cobra.Command {
	return &cobra.Command{
		Use: "inside", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if code := worker.Inside(); code != 0 {
				return &exitError{code, errors.New("this verb is for agentctl itself")}
			}
			return nil
		},
	}
}

// again runs this command line again among the ids of sandboxes, if environments of
// those are in the state folder: their files need not be readable for this user.
func (a *app) again(state string) (done bool, err error) {
	if os.Geteuid() == 0 || !worker.KeepsRange(state) || len(os.Args) < 2 || os.Args[1] == cobra.ShellCompRequestCmd {
		return false, nil
	}
	ids, _, err := runtime.SubIDs()
	if err != nil {
		return true, err
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// There, this user is root, for whom other folders are the usual ones.
	cmd.Env = append(os.Environ(), "AGENTCTL_STATE="+state, "AGENTCTL_SOCKET="+a.socket)
	if err := runtime.EnterRange(cmd, ids); err != nil {
		return true, err
	}
	err = cmd.Wait()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return true, &exitError{max(failed.ExitCode(), exitFailed), nil}
	}
	return true, err
}

// inRange has a store keep its layers with owners of the range of ids that sandboxes
// of a state folder have.
func inRange(o *image.Options, state string, want spec.IDRange) error {
	ids, err := worker.IDRange(state, want)
	if err != nil {
		return err
	}
	o.Shift, o.IDs = ids.Base, ids.Size
	if os.Geteuid() != 0 {
		o.Enter = func(cmd *exec.Cmd) error { return runtime.EnterRange(cmd, ids) }
	}
	return nil
}

// asUser has a store of somebody who is not root keep layers as his agent does. Without
// ids nothing new can be kept, but looked at.
func asUser(o *image.Options, state string, make bool) error {
	if os.Geteuid() == 0 {
		return nil
	}
	base, size, _, err := image.Recorded(filepath.Join(state, "images"))
	if err == nil {
		o.Recorded = base != 0
		err = inRange(o, state, spec.IDRange{Base: base, Size: size})
	}
	return lo.Ternary(make, err, nil)
}

// repoOptions has checkouts belong to users of sandboxes where the agent is not root.
func repoOptions(log *slog.Logger) repo.Options {
	if os.Geteuid() == 0 {
		return repo.Options{Log: log}
	}
	return repo.Options{Log: log, Give: worker.GiveToRange, Exec: worker.RangeExec{}}
}
