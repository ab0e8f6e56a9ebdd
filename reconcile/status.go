package reconcile

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"agentctl/spec"
)

// Condition types.
const (
	SpecAccepted = "SpecAccepted" // the newest text of the source is in force
	Ready        = "Ready"        // takes tasks, by the accepted spec
	Reconciling  = "Reconciling"  // the plan is not empty; only there while true
	Stalled      = "Stalled"      // waits for what will not come by itself; only there while true
	Suspended    = "Suspended"    // the source is not followed, on an operator's word
)

// Values of Condition.Status.
const (
	True    = "True"
	False   = "False"
	Unknown = "Unknown"
)

// Condition is one statement about the node or a worker, in the form that
// Kubernetes made usual.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"` // True, False or Unknown
	Reason  string `json:"reason"` // CamelCase, for programs
	Message string `json:"message,omitempty"`
	// Since is when Status last changed.
	Since time.Time `json:"since"`
	// Revision is the digest of the spec that the condition speaks of.
	Revision string `json:"revision,omitempty"`
}

// Revision is one spec text.
type Revision struct {
	Number int64     `json:"number,omitempty"` // of accepted ones, from 1
	Digest string    `json:"digest,omitempty"` // sha256, in hex
	Origin Origin    `json:"origin,omitzero"`
	Commit *Commit   `json:"commit,omitempty"` // of a text that came from git
	Time   time.Time `json:"time,omitzero"`
}

// Commit is a commit of git that a spec came from.
type Commit struct {
	Hash    string    `json:"hash"`
	Author  string    `json:"author"` // NAME <MAIL>
	Time    time.Time `json:"time,omitzero"`
	Subject string    `json:"subject,omitempty"`
	// Signer is whose signature was verified, "" if none was asked for.
	Signer string `json:"signer,omitempty"`
}

// Origin is where a spec came from.
type Origin struct {
	// Kind is "file", "folder", "git" or "pinned".
	Kind string `json:"kind,omitempty"`
	// Path is the file or folder, within the repository if there is one, or what the
	// pinned text was called.
	Path string `json:"path,omitempty"`
	// URL of the repository, without credentials, and Ref the branch or tag in it.
	URL string `json:"url,omitempty"`
	Ref string `json:"ref,omitempty"`
}

// String says it for people.
func (o Origin) String() string {
	if o.URL == "" {
		return strings.TrimSpace(o.Kind + " " + o.Path)
	}
	return strings.Join([]string{o.Kind, o.URL, cmp.Or(o.Ref, "HEAD"), o.Path}, " ")
}

// of begins a message about a text of the commit: whose it is.
func (c *Commit) of() string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("commit %.12s of %s (%s): ", c.Hash, c.Author, c.Subject)
}

// Snapshot is the whole state of the node at one moment. It is never changed
// after it was published.
type Snapshot struct {
	// Time is when the loop looked last, every 30 s at least.
	Time time.Time `json:"time"`
	Name string    `json:"name"`
	// Node is the accepted spec with all defaults, or nil before there is one.
	Node *spec.Node `json:"node,omitempty"`
	// Generation counts accepted specs since the agent's start. The plan of
	// ObservedGeneration has been handed to the workers.
	Generation         int64 `json:"generation"`
	ObservedGeneration int64 `json:"observedGeneration"`
	// LastAttempted is the newest text that was seen, accepted or not; its Origin
	// is the present source.
	LastAttempted Revision `json:"lastAttempted,omitzero"`
	LastApplied   Revision `json:"lastApplied,omitzero"`
	// Suspension says why the source is not followed, and Waiting what it has; nil: it
	// is followed.
	Suspension *Suspension    `json:"suspension,omitempty"`
	Waiting    *Waiting       `json:"waiting,omitempty"`
	Conditions []Condition    `json:"conditions"`
	Workers    []WorkerStatus `json:"workers"`
	// Tasks are those that run, then those that ended, newest first.
	Tasks  []TaskStatus `json:"tasks"`
	Plan   Plan         `json:"plan"`
	Server ServerStatus `json:"server"`
	// Warnings of the accepted spec.
	Warnings spec.Problems `json:"warnings,omitempty"`
}

// Condition returns the condition of that type; false if it is not there.
func (s *Snapshot) Condition(kind string) (Condition, bool) { return find(s.Conditions, kind) }

// Condition returns the worker's condition of that type; false if it is not there.
func (w WorkerStatus) Condition(kind string) (Condition, bool) { return find(w.Conditions, kind) }

func find(conditions []Condition, kind string) (Condition, bool) {
	for _, c := range conditions {
		if c.Type == kind {
			return c, true
		}
	}
	return Condition{}, false
}
