package main

import (
	"context"
	"time"

	"agentctl/reconcile"

	"github.com/coreos/go-systemd/v22/daemon"
)

// stale is how old the loop's snapshot may be before the agent counts as hung: it
// is made anew twice a minute at least.
const stale = 90 * time.Second

type snapshots interface{ Snapshot() *reconcile.Snapshot }

// notifySystemd says that the agent is ready, keeps its watchdog quiet while the
// loop turns, and says that it stops. Outside systemd it does nothing.
func notifySystemd(ctx context.Context, loop snapshots) error {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	defer func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) }()
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(every / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if time.Since(loop.Snapshot().Time) < stale {
				_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
			}
		}
	}
}
