package runtime

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// againstExec runs hostile code in a sandbox, over and over, while commands are
// executed beside it. OUT in it is the outside.
func againstExec(attack string, command ExecConfig) func(*testing.T) {
	return func(t *testing.T) {
		o := newOutside(t)
		attack := strings.ReplaceAll(attack, "OUT", o.dir)
		task := staying(t, func(cfg *Config) {
			cfg.Args = sh(`(while :; do ` + attack + `; done) >/dev/null 2>&1 & echo staying; while :; do sleep 1; done`)
		})
		ran := 0
		for range races {
			var out, errOut strings.Builder
			c := command
			c.Args = nil
			for _, arg := range command.Args {
				c.Args = append(c.Args, strings.ReplaceAll(arg, "OUT", o.dir))
			}
			c.Env, c.Stdout, c.Stderr = []string{"PATH=/bin"}, &out, &errOut
			if _, err := Exec(t.Context(), task.Dir(), c); err == nil {
				ran++
			}
			o.check(t, map[string]string{StreamStdout: out.String(), StreamStderr: errOut.String()})
		}
		select {
		case <-task.Done():
			t.Error("the sandbox is gone")
		default:
		}
		t.Logf("%d of %d were executed", ran, races)
	}
}

// where reads the outside by ways that lead there from any folder of the host.
var where = sh(`ls -A ..; cat secret .OUT/secret ..OUT/secret ../../../../../../../..OUT/secret; true`)

// aWorkingFolder is a folder, and a link to a descriptor, in turn.
func aWorkingFolder(t *testing.T) {
	for _, to := range []string{"/proc/self/fd/3", "/proc/1/fd/3", "/proc/1/cwd"} {
		againstExec(`ln -sfn `+to+` /tmp/l; mkdir /tmp/d; mv -T /tmp/l /tmp/way; rm -f /tmp/way; mv -T /tmp/d /tmp/way; rmdir /tmp/way`,
			ExecConfig{Args: where, Cwd: "/tmp/way"})(t)
	}
}

// againstMounts starts sandboxes that share a folder in which another task exchanges
// a folder with a link, while things are mounted below it, first and late.
func againstMounts(to string) func(*testing.T) {
	return func(t *testing.T) {
		o := newOutside(t)
		root, shared, base := busyboxLayer(t), newDir(t), newDir(t)
		must(t, os.Mkdir(shared+"/way", 0o777))
		must(t, os.Chmod(shared, 0o777))
		must(t, os.Chmod(shared+"/way", 0o777))
		must(t, os.Symlink(strings.ReplaceAll(to, "OUT", o.dir), shared+"/other"))
		stop := exchange(t, shared+"/way", shared+"/other")
		defer stop()
		ended := map[string]int{}
		for n := range races {
			cfg := boxConfig(t, `cat /data/way/secret /data/other/secret /data/way/deep/secret; echo changed > /data/way/secret; true`, root)
			cfg.ID += fmt.Sprint("-", n)
			cfg.Sandbox.Mounts = []Mount{{Source: shared, Target: "/data"}, {Source: newDir(t), Target: "/data/way/deep"}, {Target: "/data/way/memory", Memory: true}}
			var s *Spare
			if n%2 == 1 {
				// What is mounted late is the one thing for a sandbox that is there.
				cfg.Sandbox.Mounts = cfg.Sandbox.Mounts[:1]
				s = prepare(t, cfg)
			}
			cfg.Overlays = []Overlay{{Target: "/data/way/late", Lower: base, Upper: cfg.Dir + "/upper"}}
			exit, out := runIn(t, s, cfg)
			o.check(t, out)
			ended[exit.Reason]++
			if exit.Reason != Exited && exit.Reason != StartFailed {
				t.Errorf("ended as %+v", exit)
			}
		}
		t.Logf("to %s: %v", to, ended)
	}
}

// exchange swaps two names as fast as it can, until it is stopped.
func exchange(t *testing.T, a, b string) (stop func()) {
	t.Helper()
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-ended:
				done <- nil
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil && !errors.Is(err, unix.EBUSY) {
				done <- err
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(ended)
		must(t, <-done)
	})
}

// inTurn makes one attack of several.
func inTurn(all ...func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		for _, attack := range all {
			attack(t)
		}
	}
}
