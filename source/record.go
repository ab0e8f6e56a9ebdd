package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/samber/lo"

	"agentctl/spec"
)

// Kinds of sources.
const (
	KindFile   = "file"
	KindFolder = "folder"
	KindGit    = "git"
	KindPinned = "pinned"
)

// Who named a source.
const (
	ByApply = "apply"
	ByFlags = "flags"
)

// recordVersion is that of the revisions' records, and of the sources that the first
// release knew; newVersion is that of the others, which it must not take for a fault.
const (
	recordVersion = 1
	newVersion    = 2
)

// Source is where the spec comes from. The zero Source is none.
type Source struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`
	// Path is the followed file or folder, absolute; within the repository of Git; or
	// what a pinned text was called.
	Path string `json:"path,omitempty"`
	Git  *Git   `json:"git,omitempty"`
	// Base is the commit that the operator took when he named the repository, or
	// accepted a rewritten history, and Based when: what comes must come after it, or
	// after what was applied since.
	Base  string    `json:"base,omitempty"`
	Based time.Time `json:"based,omitzero"`
	// Digest of a pinned text.
	Digest string    `json:"digest,omitempty"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	// Said is the order that named it, until its text was accepted.
	Said *Word `json:"said,omitempty"`
	// Suspended says that it is not followed, and why; nil: it is.
	Suspended *Suspension `json:"suspended,omitempty"`
}

// String says it for people.
func (s Source) String() string {
	var out string
	switch s.Kind {
	case KindFile:
		out = "the file " + s.Path
	case KindFolder:
		out = "the folder " + s.Path
	case KindGit:
		out = s.Git.String()
	case KindPinned:
		out = "a pinned spec (" + s.Path + ")"
	default:
		return "no source"
	}
	if s.By == ByFlags {
		out += ", named by the agent's flags"
	}
	return out
}

// Remote is the URL and the ref of a repository, "" of another source.
func (s Source) Remote() (url, ref string) {
	if s.Git == nil {
		return "", ""
	}
	return s.Git.URL, s.Git.Ref
}

// samePlace tells that only the text may differ.
func (s Source) samePlace(o Source) bool {
	return s.Kind == o.Kind && s.Path == o.Path && s.Git.same(o.Git)
}

func (s Source) check() error {
	bad := errors.New("it is not a recorded source; remove it and name the source again with agentctl apply")
	switch {
	case s.Version > newVersion:
		return fmt.Errorf("version %d was written by a newer agentctl; run that one", s.Version)
	case s.Version < 1, s.Path == "":
		return bad
	}
	ok := false
	switch s.Kind {
	case KindFile, KindFolder:
		ok = filepath.IsAbs(s.Path)
	case KindPinned:
		ok = isDigest(s.Digest)
	case KindGit:
		ok = s.Git != nil
		if ok {
			_, err := s.Git.Checked()
			ok = err == nil && s.Git.Path == s.Path
		}
	}
	if !ok {
		return bad
	}
	return nil
}

// Revision is one accepted spec.
type Revision struct {
	Version int    `json:"version"`
	Number  int64  `json:"number"` // from 1
	Digest  string `json:"digest"` // sha256 of its text, in hex
	// Own is how many bytes of the text are the source's, before what is laid over it,
	// and OwnDigest is theirs; 0: all.
	Own       int       `json:"own,omitempty"`
	OwnDigest string    `json:"ownDigest,omitempty"`
	Kind      string    `json:"kind"` // of the source
	Path      string    `json:"path,omitempty"`
	URL       string    `json:"url,omitempty"` // of a repository, and the ref in it
	Ref       string    `json:"ref,omitempty"`
	Commit    *Commit   `json:"commit,omitempty"` // of a text that came from git
	Time      time.Time `json:"time"`
	// Cause is what made it the spec, From the number of the revision whose text it is,
	// when it was one before.
	Cause string `json:"cause,omitempty"`
	From  int64  `json:"from,omitempty"`
	// By is who gave the order, "" if nobody did but the source changed; Message is why.
	By      string `json:"by,omitempty"`
	Message string `json:"message,omitempty"`
	// Changes are the fields that it changed of the spec before it. Partial says that
	// there were more than are kept.
	Changes []spec.Change `json:"changes,omitempty"`
	Partial bool          `json:"partial,omitempty"`
	// Plan is what was to be done for it, in short.
	Plan []Step `json:"plan,omitempty"`
	// Result is what became of it, "" while that is open.
	Result   string    `json:"result,omitempty"`
	Finished time.Time `json:"finished,omitzero"`
}

// Causes of a revision.
const (
	CauseSource   = "source"   // its source has changed
	CauseApply    = "apply"    // an operator applied it
	CauseRollback = "rollback" // an operator went back to it
	CauseTry      = "try"      // an operator tries it
	CauseRevert   = "revert"   // what was tried after it was not confirmed
	// CauseContribute: a command has added workers, or taken its own away.
	CauseContribute = "contribute"
)

// Step is one action of a plan, in short.
type Step struct {
	Verb   string `json:"verb"`
	Worker string `json:"worker"`
	Reason string `json:"reason"`
}

// Commit is a commit of git that a text came from.
type Commit struct {
	Hash    string    `json:"hash"`
	Author  string    `json:"author"` // NAME <MAIL>
	Time    time.Time `json:"time,omitzero"`
	Subject string    `json:"subject,omitempty"`
	// Signer is whose signature was verified, "" if none was asked for.
	Signer string `json:"signer,omitempty"`
}

// Accepted is a spec to be made the last good one.
type Accepted struct {
	Seq     int64 // of the Update that it came with
	Text    []byte
	Own     int // bytes of the text that are the source's; 0: all
	Commit  *Commit
	Time    time.Time
	Changes []spec.Change
	Plan    []Step
}

// Update is what the source says now: its text, or why there is none.
type Update struct {
	Source Source
	Text   []byte
	Commit *Commit // of a text from git
	Err    error
	// Unread says that neither is known: only the source, or its suspension, is new.
	Unread bool
	// Seq rises with each update, over all sources.
	Seq int64
}

// TakeOverError refuses to replace a source that the agent's flags named, or a
// repository, unless that is asked for. Gone are contributed workers that would go.
type TakeOverError struct {
	Present, Wanted Source
	Gone            []Contribution
}

func (e *TakeOverError) Error() string {
	if len(e.Gone) > 0 {
		gone := lo.Map(e.Gone, func(c Contribution, _ int) string { return c.Origin() })
		return fmt.Sprintf("workers that were contributed would go, since a repository says all that runs: %s; to take the spec from %s all the same, add --take-over", strings.Join(gone, ", "), e.Wanted)
	}
	return fmt.Sprintf("the spec comes from %s; to take it from %s instead, add --take-over", e.Present, e.Wanted)
}

// ChangedError says that the agent does not find in a file what the caller did.
type ChangedError struct{ Path string }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("the agent reads another text in %s than was given: it was edited just now, or the agent sees another file there; try again, or pin the text with --no-watch", e.Path)
}

// errSuperseded refuses a text whose source was replaced while it was on its way.
var errSuperseded = errors.New("cannot accept the spec: its source was replaced meanwhile")

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func isDigest(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == sha256.Size
}
