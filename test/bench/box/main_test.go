//go:build bench

package box

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// inside tells that this is the program in its own mount namespace.
const inside = "AGENTCTL_BOX_INSIDE"

// alone gives the whole run a mount namespace of its own: what a program leaves
// mounted ends with it. crun refuses a host that has controllers in cgroup v2 beside
// v1; there all take part without v2.
const alone = `v2=/sys/fs/cgroup/unified; [ -z "$(cat $v2/cgroup.controllers 2>/dev/null)" ] || umount $v2; exec "$0" "$@"`

func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" && os.Geteuid() == 0 {
		unshare, err := exec.LookPath("unshare")
		if err == nil {
			args := append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", alone}, os.Args...)
			err = syscall.Exec(unshare, args, append(os.Environ(), inside+"=1"))
		}
		fmt.Fprintln(os.Stderr, "cannot make a mount namespace:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
