package runtime

import (
	"errors"

	"agentctl/runtime/internal/frame"
	"agentctl/runtime/internal/netns"
	"agentctl/runtime/internal/record"
	"agentctl/runtime/internal/relay"
)

// The values that agent and shim share.
type (
	// Config says what is to be run, as whom, in which view of the file system.
	Config = record.Config
	// Sandbox is an image's root, namespaces and limits for a run.
	Sandbox = record.Sandbox
	// IDRange and what follows are the parts of a Sandbox.
	IDRange = record.IDRange
	Mount   = record.Mount
	Device  = record.Device
	Ulimit  = record.Ulimit
	Network = record.Network
	// Pool is what private networks are made from.
	Pool = netns.Pool
	// Servers is how a task without the host's network reaches its servers.
	Servers   = relay.Plan
	Resources = record.Resources
	IOLimit   = record.IOLimit
	// Overlay is a writable view of a folder that stays as it is.
	Overlay = record.Overlay
	// Handle tells a living shim from a process that got its number later.
	Handle = record.Handle
	// Exit is how a run ended.
	Exit = record.Exit
)

// The reasons of an Exit.
const (
	Exited      = record.Exited
	Signaled    = record.Signaled
	TimedOut    = record.TimedOut
	Stopped     = record.Stopped
	OutOfMemory = record.OutOfMemory
	Lost        = record.Lost
	StartFailed = record.StartFailed
)

// The rungs of containment, best first, and of the mount namespace.
const (
	Cgroup2   = record.Cgroup2
	Cgroup1   = record.Cgroup1
	PIDNS     = record.PIDNS
	Subreaper = record.Subreaper

	MountRoot   = record.MountRoot
	MountUserNS = record.MountUserNS
	MountNone   = record.MountNone
)

// The networks of a sandbox.
const (
	NetworkHost    = record.NetworkHost
	NetworkNone    = record.NetworkNone
	NetworkPrivate = record.NetworkPrivate
)

// IdleArgs is a command that does nothing until it is ended, in any image: that of a
// sandbox for what Exec executes in it.
func IdleArgs() []string { return record.IdleArgs() }

// The streams of a console.
const (
	StreamStdout = "stdout"
	StreamStderr = "stderr"
	StreamAgent  = "agent"
)

// CursorFile is the file of a run's folder in which the agent says how far the console is
// on the server, as {"sent": {"pos": {"frame": OFFSET}}}.
const CursorFile = record.CursorFile

// MaxFrame is how many bytes one console frame holds at most.
const MaxFrame = frame.MaxData

// Errors that callers branch on.
var (
	// ErrNoRun means that nothing was ever started in the folder.
	ErrNoRun = errors.New("nothing was started there")
	// ErrRan means that the folder belongs to a run that was started before.
	ErrRan = errors.New("a run was started there before")
)
