//go:build cgo

package sandbox

// The constructor of nsenter, as that of runner.c, runs before the Go runtime, in every
// start of the program. It returns at once unless libcontainer's own variable names a
// descriptor.
import _ "github.com/opencontainers/runc/libcontainer/nsenter"
