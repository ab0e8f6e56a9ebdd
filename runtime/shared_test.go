package runtime

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"agentctl/internal/fsx"
)

// On a host whose mounts are shared, as systemd makes them, nothing that a task
// sees may appear on the host.
func TestMountsStayOffASharedHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can share mounts with the host")
	}
	eachContainment(t, func(t *testing.T, containment string) {
		for _, mount := range []string{MountNone, MountRoot} {
			if !has(t, mountRungs, mount) {
				continue
			}
			w := newWorld(t, -1, `cat "$1/bin/tool"; ls "$0" >&2; grep -c . /proc/self/mountinfo`)
			w.cfg.Containment, w.cfg.MountNS = containment, mount
			if mount == MountNone {
				w.cfg.Overlays = nil
			}
			order := w.host + "/order"
			must(t, fsx.WriteJSON(order, agentOrder{Config: w.cfg, Shim: realShim(t)}, 0o600))
			cmd := exec.Command(self(), "play", "shared-host", order)
			cmd.Env = quiet
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", mount, err, out)
			}
		}
	})
}

// sharedHost runs a task in a mount namespace whose mounts are all shared, and
// fails if they are others afterwards.
func sharedHost(args []string) int {
	err := func() error {
		var order agentOrder
		if err := fsx.ReadJSON(args[0], &order); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
			return err
		}
		before, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return err
		}
		task, err := launcher(order.Shim).Start(context.Background(), order.Config)
		if err != nil {
			return err
		}
		if exit, err := task.Wait(context.Background()); err != nil || exit.Code != 0 {
			return fmt.Errorf("ended as %+v, %w", exit, err)
		}
		after, err := os.ReadFile("/proc/self/mountinfo")
		if err == nil && string(after) != string(before) {
			err = fmt.Errorf("mounts were\n%s\nare\n%s", before, after)
		}
		if err == nil && !strings.Contains(string(after), "shared:") {
			err = fmt.Errorf("mounts are not shared: %s", after)
		}
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
