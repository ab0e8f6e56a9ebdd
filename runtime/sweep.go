package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/netns"
)

// sweepPatience bounds how long processes may take to die after SIGKILL.
const sweepPatience = 30 * time.Second

// sweep ends what a shim that was killed left of its task, and says what
// happened to the shim.
func sweep(ctx context.Context, h *Handle) (string, error) {
	boot, err := contain.BootID()
	if err != nil {
		return "", err
	}
	if boot != h.BootID {
		return "the machine was restarted while the task ran", nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, sweepPatience, errors.New("processes of the task don't die"))
	defer cancel()
	// A sandbox's processes die with their init, and that with the shim; one that
	// was being made may have left an init that waits for nobody.
	for _, g := range groupsOf(h) {
		if err := sweepGroup(ctx, g); err != nil {
			return "", err
		}
	}
	if err := sweepMarked(ctx, h); err != nil {
		return "", err
	}
	if h.Pool != nil {
		if err := netns.Remove(ctx, *h.Pool, h.Nonce); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("the shim of the task (process %d) was killed, the task with it", h.PID), nil
}

func groupsOf(h *Handle) []contain.Group {
	var groups []contain.Group
	if h.Cgroup != "" {
		groups = append(groups, contain.Group{Dir: h.Cgroup, V1: h.Containment == Cgroup1})
	}
	for controller, dir := range h.Groups {
		groups = append(groups, contain.Group{Dir: dir, V1: controller != ""})
	}
	return groups
}

func sweepGroup(ctx context.Context, g contain.Group) error {
	err := until(ctx, func() (bool, error) {
		if g.Empty() {
			return true, nil
		}
		return false, g.Kill()
	})
	if err != nil {
		return err
	}
	return g.Remove()
}

// sweepMarked ends processes that no cgroup holds, by the run's mark on them.
func sweepMarked(ctx context.Context, h *Handle) error {
	return until(ctx, func() (bool, error) {
		pids, err := contain.Marked(h.Nonce, h.StartTicks)
		if err != nil || len(pids) == 0 {
			return true, err
		}
		return false, contain.Signal(pids, unix.SIGKILL)
	})
}

// until repeats do until it is done, fails, or ctx ends.
func until(ctx context.Context, do func() (bool, error)) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		done, err := do()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
