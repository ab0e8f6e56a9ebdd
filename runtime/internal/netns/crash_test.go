package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"agentctl/runtime/internal/nettest"
)

// crashing is the first argument of the program that is to die.
const crashing = "connect-and-die"

// crashMain connects, in the network that it was started in, the namespace on
// descriptor 3.
func crashMain(args []string) int {
	ctx := context.Background()
	p, err := Choose(ctx, Pool{Tag: args[0], Lock: args[1]})
	if err == nil {
		_, err = Connect(ctx, p, args[2], os.NewFile(3, "ns"))
	}
	fmt.Println(err)
	return 1
}

// A shim dies at each step of connecting a sandbox whose processes hang on. Its
// link is found and removed, that of another stays, and the sandbox can be
// connected again.
func TestKilledAtEachStep(t *testing.T) {
	net := nettest.NewInternet(t)
	bin := filepath.Join(t.TempDir(), "crashing")
	if out, err := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := pool(t, net.Host, "here")
	alive := connected(t, net.Host, p, "alive", nettest.New(t))
	for _, point := range []string{"prepared", "linked", "marked", "addressed", "connected"} {
		t.Run(point, func(t *testing.T) {
			box := nettest.New(t)
			cmd := exec.Command(bin, crashing, p.Tag, p.Lock, "dead")
			cmd.Env = append(os.Environ(), "AGENTCTL_CRASH_AT=netns."+point)
			cmd.ExtraFiles = []*os.File{box.File}
			var out strings.Builder
			cmd.Stdout = &out
			err := net.Host.Do(cmd.Run)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("it did not die there: %v, %s", err, out.String())
			}
			if left := len(names(t, net.Host)) - 3; left != 1 && point != "prepared" {
				t.Errorf("%d links were left", left)
			}
			net.Host.Must(t, func() error {
				removed, err := Sweep(context.Background(), p, func(id string) bool { return id == "alive" })
				if len(removed) > 1 || len(removed) == 1 && removed[0] != "" && removed[0] != "dead" {
					t.Errorf("removed %v", removed)
				}
				return err
			})
			if got := names(t, net.Host); !slices.Equal(got, []string{alive.Link, "lo", "uplink"}) {
				t.Errorf("left are %v", got)
			}
			n := connected(t, net.Host, p, "dead", box)
			net.Host.Listen(t, n.Gateway.String()+":80")
			if _, err := box.Ask(n.Gateway.String() + ":80"); err != nil {
				t.Error(err)
			}
			net.Host.Must(t, func() error { return Remove(context.Background(), p, "dead") })
		})
	}
}
