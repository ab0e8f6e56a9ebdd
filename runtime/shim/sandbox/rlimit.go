package sandbox

import (
	"fmt"
	"math"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// rlimitNumbers are of linux/resource.h, by the names that record.Ulimits lists.
var rlimitNumbers = map[string]int{
	"cpu": unix.RLIMIT_CPU, "fsize": unix.RLIMIT_FSIZE, "data": unix.RLIMIT_DATA, "stack": unix.RLIMIT_STACK,
	"core": unix.RLIMIT_CORE, "rss": unix.RLIMIT_RSS, "nproc": unix.RLIMIT_NPROC, "nofile": unix.RLIMIT_NOFILE,
	"memlock": unix.RLIMIT_MEMLOCK, "locks": unix.RLIMIT_LOCKS, "sigpending": unix.RLIMIT_SIGPENDING,
	"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "rtprio": unix.RLIMIT_RTPRIO, "rttime": unix.RLIMIT_RTTIME,
}

// rlimits translates limits. One above the shim's own hard limit needs rights
// that a plain user's agent lacks: it is refused, in words, not cut.
func rlimits(list []record.Ulimit) ([]configs.Rlimit, error) {
	var out []configs.Rlimit
	for _, u := range list {
		number, ok := rlimitNumbers[strings.ToLower(u.Name)]
		if !ok {
			return nil, fmt.Errorf("there is no ulimit %s", u.Name)
		}
		r := configs.Rlimit{Type: number, Soft: unlimited(u.Soft), Hard: unlimited(u.Hard)}
		var own unix.Rlimit
		if err := unix.Getrlimit(number, &own); err != nil {
			return nil, fmt.Errorf("cannot read ulimit %s: %w", u.Name, err)
		}
		if r.Hard > own.Max && !mayRaise() {
			return nil, fmt.Errorf("cannot raise ulimit %s to %d: the agent's own hard limit is %d, and it has no right to raise it", u.Name, u.Hard, own.Max)
		}
		out = append(out, r)
	}
	return out, nil
}

func unlimited(n int64) uint64 {
	if n < 0 {
		return math.MaxUint64
	}
	return uint64(n)
}

// mayRaise tells whether this process may raise hard limits: CAP_SYS_RESOURCE
// over the machine, not only over a user namespace.
func mayRaise() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	return !inUserNS() && unix.Capget(&hdr, &sets[0]) == nil && sets[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}
