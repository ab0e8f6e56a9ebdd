package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"agentctl/clearml"
	"agentctl/internal/fsx"
	"agentctl/runtime"
	"agentctl/spec"
)

// Phase is the last step of a task that its record is sure of. Each is written
// before the effect that it names, in this order:
//
//	intent     about to pop the task from its queue
//	leased     popped; about to tell the server that it has started
//	preparing  started on the server; building environment and code
//	starting   about to start the shim
//	running    the shim has recorded its handle
//	ended      the task's end and its final status are known
//	reported   the server has accepted the final status; nothing is left to do
//	dropped    the task was never ours, or is no longer; nothing is left to do
type Phase string

// The phases, in order.
const (
	PhaseIntent    Phase = "intent"
	PhaseLeased    Phase = "leased"
	PhasePreparing Phase = "preparing"
	PhaseStarting  Phase = "starting"
	PhaseRunning   Phase = "running"
	PhaseEnded     Phase = "ended"
	PhaseReported  Phase = "reported"
	PhaseDropped   Phase = "dropped"
)

// over tells that a record needs nothing more.
func (p Phase) over() bool { return p == PhaseReported || p == PhaseDropped }

const recordVersion = 1

// Record is what must be known of a task after the agent died: what was leased,
// for which worker with which settings, and how far it came. What can be
// observed again (is the shim alive, how did it end) is not in it.
type Record struct {
	Version int    `json:"version"`
	Task    string `json:"task"`
	Name    string `json:"name,omitempty"`
	Queue   string `json:"queue"` // id
	// QueueName is what the spec calls the queue.
	QueueName string `json:"queueName,omitempty"`
	// Server is where the task came from and where its end is reported.
	Server spec.Server `json:"server"`
	// Git and ResolveAge are the node's, as the task was leased.
	Git        spec.Git      `json:"git,omitzero"`
	ResolveAge spec.Duration `json:"resolveAge,omitempty"`
	// Worker holds the settings that the task was leased with; later changes of
	// the spec don't touch a running task.
	Worker      spec.Worker `json:"worker"`
	Phase       Phase       `json:"phase"`
	Since       time.Time   `json:"since"`
	Leased      time.Time   `json:"leased"`
	Started     time.Time   `json:"started,omitzero"`
	Ended       time.Time   `json:"ended,omitzero"`
	Times       []Span      `json:"times,omitempty"`
	Environment string      `json:"environment,omitempty"` // built or hit
	EnvKey      string      `json:"envKey,omitempty"`
	LockKey     string      `json:"lockKey,omitempty"` // of what the environment was resolved to
	Manager     string      `json:"manager,omitempty"`
	Why         string      `json:"why,omitempty"` // reason of the hit or miss
	Commit      string      `json:"commit,omitempty"`
	Image       string      `json:"image,omitempty"` // of the sandbox, and the digest of its manifest
	ImageDigest string      `json:"imageDigest,omitempty"`
	Rank        int         `json:"rank,omitempty"` // of several agents that run it together
	Rule        int         `json:"rule,omitempty"` // of spec.sandbox.rules, from 1 on
	Network     string      `json:"network,omitempty"`
	User        string      `json:"user,omitempty"` // inside, and the host's number of it
	HostUser    int         `json:"hostUser,omitempty"`
	Sandbox     string      `json:"sandbox,omitempty"`  // how it came to it: ahead, beside or cold
	Frozen      []string    `json:"frozen,omitempty"`   // packages as installed, of earlier agents
	Thin        bool        `json:"thin,omitempty"`     // a child environment, not an overlay
	Failures    int         `json:"failures,omitempty"` // of nodes, before this run
	// Stray is another task that an old server popped in place of this one.
	Stray string `json:"stray,omitempty"`
	// Aborting is set while the task's own abort callback is waited for.
	Aborting bool `json:"aborting,omitempty"`
	// ServerStarted is when the run began by the server's clock: it tells this run from
	// one that somebody else started since.
	ServerStarted clearml.Time  `json:"serverStarted,omitzero"`
	Containment   string        `json:"containment,omitempty"`
	MountNS       string        `json:"mountNS,omitempty"`
	Exit          *runtime.Exit `json:"exit,omitempty"`
	Final         *Final        `json:"final,omitempty"`
	// Slots are the GPUs that the task has, Draining when its worker began to drain.
	Slots    []string  `json:"slots,omitempty"`
	Draining time.Time `json:"draining,omitzero"`
	// Checkpoint is the signal on which the task saves its state, and Saves that it is to
	// do so before it is stopped.
	Checkpoint string `json:"checkpoint,omitempty"`
	Saves      bool   `json:"saves,omitempty"`
	// Stop is set when an agent has begun to stop the task: the status to report.
	Stop *Final `json:"stop,omitempty"`
}

// Span is how long one part of a task's way took.
type Span struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took"`
}

// Final is the status that the server is to have in the end; an empty Status
// means that the server's own word stands (the task was reset, deleted or
// stopped there).
type Final struct {
	Status  string `json:"status,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// validID keeps a hostile task id from leading out of the tasks folder.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

const recordFile = "record.jsonl"

// journal is the record of one task on disk: one JSON line per step, the last
// whole line counts. Appending needs no rename, and a line that a crash cut off
// is skipped, so only steps that must survive a power cut pay for an fsync.
type journal struct {
	dir string
	f   *os.File
}

// openJournal opens the journal in dir, which must exist.
func openJournal(dir string) (*journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, recordFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the task's record: %w", err)
	}
	return &journal{dir, f}, nil
}

func (j *journal) close() { _ = j.f.Close() }

// append adds r; durable makes it survive a power cut as well as a crash.
func (j *journal) append(r *Record, durable bool) error {
	r.Version = recordVersion
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot write the task's record: %w", err)
	}
	// The leading newline ends a line that a crash cut off.
	if _, err := j.f.Write(slices.Concat([]byte{'\n'}, line, []byte{'\n'})); err != nil {
		return fmt.Errorf("cannot write the task's record: %w", err)
	}
	if !durable {
		return nil
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("cannot write the task's record: %w", err)
	}
	return fsx.SyncDir(filepath.Dir(j.dir))
}

// readRecord returns the last whole record in dir; fs.ErrNotExist when there is
// none at all.
func readRecord(dir string) (*Record, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return nil, fmt.Errorf("cannot read the task's record: %w", err)
	}
	for len(data) > 0 {
		data = bytes.TrimRight(data, "\n")
		cut := bytes.LastIndexByte(data, '\n') + 1
		var r Record
		if json.Unmarshal(data[cut:], &r) == nil && r.Task != "" {
			if r.Version > recordVersion {
				return nil, fmt.Errorf("cannot read the record of task %s: it is of version %d, written by a newer agentctl", r.Task, r.Version)
			}
			return &r, nil
		}
		data = data[:cut]
	}
	return nil, fmt.Errorf("cannot read the task's record in %s: %w", dir, fs.ErrNotExist)
}

// readRecords returns the record of every task folder below dir; folders whose
// record can't be read are given back as errors, one each.
func readRecords(dir string) ([]*Record, []error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, []error{fmt.Errorf("cannot read the tasks folder: %w", err)}
	}
	var recs []*Record
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || !validID.MatchString(e.Name()) {
			continue
		}
		r, err := readRecord(filepath.Join(dir, e.Name()))
		switch {
		case err != nil:
			errs = append(errs, err)
		case r.Task != e.Name():
			errs = append(errs, fmt.Errorf("cannot use the record in folder %s: it speaks of task %s", e.Name(), r.Task))
		default:
			recs = append(recs, r)
		}
	}
	return recs, errs
}
