package dockerargs

import (
	"strconv"
	"strings"
)

// Kind is what a request is about, by which a Policy judges it.
type Kind string

// The kinds of requests.
const (
	KindEnv      Kind = "env"
	KindMount    Kind = "mount"
	KindTmpfs    Kind = "tmpfs"
	KindShmSize  Kind = "shmSize"
	KindNetwork  Kind = "network"
	KindPublish  Kind = "publish"
	KindHost     Kind = "host"
	KindGateway  Kind = "gateway" // the host's own address, under a name
	KindIPC      Kind = "ipc"
	KindUlimit   Kind = "ulimit"
	KindCapAdd   Kind = "capAdd"
	KindDevice   Kind = "device"
	KindMemory   Kind = "memory"
	KindSwap     Kind = "memorySwap"
	KindCPUs     Kind = "cpus"
	KindWeight   Kind = "weight" // of CPU or disk
	KindPIDs     Kind = "pids"
	KindUser     Kind = "user"
	KindPlatform Kind = "platform"
	// KindFree is what concerns nobody but the task.
	KindFree Kind = "free"
	// KindIgnored makes no difference here.
	KindIgnored Kind = "ignored"
	// KindDenied is what no policy grants.
	KindDenied Kind = "denied"
	// kindQuota and kindPeriod become one KindCPUs.
	kindQuota  Kind = "quota"
	kindPeriod Kind = "period"
)

// Request is one thing that an argument asks for.
type Request struct {
	// Option as it was written, as -v or --volume.
	Option string
	// Argument is the option with its value, for messages; a value that may be a
	// secret is not in it.
	Argument string
	Kind     Kind
	// Settings has the one field that is asked for.
	Settings Settings
	// Writable says of a mount that rw was written. Docker takes rw also where
	// neither ro nor rw is.
	Writable bool
	// Platform is that of KindPlatform, Name that of KindGateway.
	Platform, Name string
	// Note says of KindIgnored why, where somebody may expect a difference; of
	// KindDenied why, and Fix what to do.
	Note, Fix string

	amount int64 // of kindQuota and kindPeriod, in microseconds
}

// Refusal is an argument that is not granted.
type Refusal struct {
	Argument string `json:"argument"`
	// Fault is what is wrong with it, or why it is not allowed.
	Fault string `json:"fault"`
	// Fix is what to do, with the key of node.yaml that would allow it.
	Fix string `json:"fix"`
}

// String renders r as "argument: fault; fix".
func (r Refusal) String() string { return r.Argument + ": " + r.Fault + "; " + r.Fix }

// fault is why a value can't be read, and what to write.
type fault struct{ why, fix string }

func (f fault) Error() string { return f.why }

// shown is how much of a text of a task a message repeats.
const shown = 100

// plain renders a text of a task for a message: short and printable.
func plain(text string) string {
	if r := []rune(text); len(r) > shown {
		text = string(r[:shown]) + "…"
	}
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

// argument renders an option with its value as one would write it.
func argument(option, value string) string {
	if strings.HasPrefix(option, "--") {
		return plain(option + "=" + value)
	}
	return plain(option + " " + value)
}
