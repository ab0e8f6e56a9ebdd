package sandbox

import "github.com/moby/sys/userns"

// inUserNS tells whether this program's rights are those over a user namespace.
func inUserNS() bool { return userns.RunningInUserNS() }
