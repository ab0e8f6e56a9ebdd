//go:build cgo

package sandbox

// Its constructor runs before the Go runtime, in every start of the program, and
// returns at once unless libcontainer's own variable names a descriptor.
import _ "github.com/opencontainers/runc/libcontainer/nsenter"
