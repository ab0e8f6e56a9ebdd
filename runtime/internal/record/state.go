package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"agentctl/internal/fsx"
	"agentctl/runtime/internal/netns"
)

// The files of a run's folder.
const (
	RunFile     = "run.json"
	LockFile    = "lock"
	HandleFile  = "handle.json"
	ConsoleFile = "console"
	StopFile    = "stop.json"
	ExitFile    = "exit.json"
	LogFile     = "shim.log"
	// CursorFile is the agent's: how far the console is on the server.
	CursorFile = "cursor.json"
)

// MappedVar tells a shim that it must wait on MappedFD.
const MappedVar = "AGENTCTL_SHIM_MAPPED"

// MarkVar is the variable in a task's environment that carries the run's nonce.
const MarkVar = "AGENTCTL_RUN"

// Handle tells a living shim from a process that got its number later, and what
// it has to be swept if the shim dies.
type Handle struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	PID     int    `json:"pid"`
	// StartTicks is the shim's start in clock ticks since boot, field 22 of
	// /proc/PID/stat.
	StartTicks uint64 `json:"startTicks"`
	// BootID is /proc/sys/kernel/random/boot_id of the boot it was started in.
	BootID      string `json:"bootID"`
	Shim        string `json:"shim"`
	Containment string `json:"containment"`
	MountNS     string `json:"mountNS"`
	Cgroup      string `json:"cgroup,omitempty"`
	// Groups are the folders of a sandbox's cgroups, by controller; "" is that of
	// version 2.
	Groups map[string]string `json:"groups,omitempty"`
	// Pool is what the sandbox's private network was made from.
	Pool *netns.Pool `json:"pool,omitempty"`
	// MountNSID is the inode of the task's mount namespace, 0 without one.
	MountNSID uint64    `json:"mountNSID,omitempty"`
	Nonce     string    `json:"nonce"`
	Started   time.Time `json:"started"`
}

// The reasons for which a run ends.
const (
	Exited      = "exited"       // by itself, with Code
	Signaled    = "signaled"     // by a signal that the agent did not send
	TimedOut    = "timeout"      // MaxRuntime was over
	Stopped     = "stopped"      // the agent asked for it
	OutOfMemory = "oom"          // the kernel killed it for its memory limit
	Lost        = "lost"         // the shim was killed, or the machine restarted
	StartFailed = "start_failed" // the task never ran
)

// Exit is how a run ended.
type Exit struct {
	Version int `json:"version"`
	// Code is the exit code of the task's main process, 128 + N when signal N
	// ended it, and -1 when it is not known or there was none.
	Code int `json:"code"`
	// Signal is the name of the signal that ended it, as SIGKILL, or "".
	Signal string `json:"signal,omitempty"`
	Reason string `json:"reason"`
	// Message says in a sentence what a person should know beyond the reason.
	Message     string    `json:"message,omitempty"`
	Started     time.Time `json:"started"`
	Ended       time.Time `json:"ended"`
	Containment string    `json:"containment"`
	MountNS     string    `json:"mountNS"`
}

// Encode is the record as JSON of at most limit bytes, which the message is cut
// for.
func (e Exit) Encode(limit int) ([]byte, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("cannot write the exit record: %w", err)
	}
	if len(data) <= limit {
		return data, nil
	}
	// JSON makes at most six bytes of one, and all other fields are short.
	e.Message = strings.ToValidUTF8(e.Message[:min(len(e.Message), limit/12)], "") + "…"
	return json.Marshal(e)
}

// Stop is the agent's wish to end the task.
type Stop struct {
	Version int `json:"version"`
	// Grace is the time between SIGTERM and the kill.
	Grace  time.Duration `json:"grace"`
	Reason string        `json:"reason"`
	// Checkpoint is a signal that goes before the SIGTERM, as SIGUSR1, to processes that
	// handle it; Save is the time between the two. "" is none.
	Checkpoint string        `json:"checkpoint,omitempty"`
	Save       time.Duration `json:"save,omitempty"`
}

// ReadHandle returns the handle in dir, or nil when there is none.
func ReadHandle(dir string) (*Handle, error) { return read[Handle](filepath.Join(dir, HandleFile)) }

// ReadExit returns the exit record in dir, or nil when there is none.
func ReadExit(dir string) (*Exit, error) { return read[Exit](filepath.Join(dir, ExitFile)) }

// ReadStop returns the wish to stop in dir, or nil when there is none.
func ReadStop(dir string) (*Stop, error) { return read[Stop](filepath.Join(dir, StopFile)) }

// ReadRun returns the order in dir, or nil when there is none.
func ReadRun(dir string) (*Run, error) { return read[Run](filepath.Join(dir, RunFile)) }

// versioned is a record that says which version of its format it is of.
type versioned interface{ version() int }

func (r *Run) version() int    { return r.Version }
func (h *Handle) version() int { return h.Version }
func (e *Exit) version() int   { return e.Version }
func (s *Stop) version() int   { return s.Version }

func read[T any, P interface {
	*T
	versioned
}](path string) (P, error) {
	v := P(new(T))
	err := fsx.ReadJSON(path, v)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if v.version() > Version {
		return nil, fmt.Errorf("cannot use %s: it is of version %d, this program knows versions up to %d", path, v.version(), Version)
	}
	return v, nil
}

// WordReady is the shim's word to the agent that started it: its handle is recorded.
// Anything else is why it is not.
const WordReady = "\x00"

// Order is what the agent tells a shim whose sandbox was made ahead, and Word what
// it answers; they are never spoken by two versions.
type Order struct {
	// Dir is the folder of the run that is to be started; the files beside are the
	// run's lock and its leases.
	Dir string `json:"dir"`
}

// Word is an answer.
type Word struct {
	// Ready tells that the sandbox is made.
	Ready bool `json:"ready,omitempty"`
	// Taken tells that the run is the shim's from now on.
	Taken bool `json:"taken,omitempty"`
	// Failed says why there is no sandbox, or no run.
	Failed string `json:"failed,omitempty"`
}
