package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"agentctl/clearml"
	"agentctl/envcache"
)

// mostLock is the longest text of a lock that goes to a server or is taken from
// one: a lock of some thousand packages.
const mostLock = 2 << 20

// ErrNoLock means that a task has no lock.
var ErrNoLock = errors.New("the task has no lock of its packages")

// LockOf reads the lock that an agent wrote to a task, ErrNoLock if there is none.
// The text may be anybody's. A lock whose list was edited since is an error: who
// edits it asks for something else.
func LockOf(r clearml.Requirements) (*envcache.Lock, error) {
	switch {
	case r.Lock == "":
		return nil, ErrNoLock
	case len(r.Lock) > mostLock:
		return nil, fmt.Errorf("the task's lock is longer than %d bytes", mostLock)
	}
	var l envcache.Lock
	d := json.NewDecoder(bytes.NewReader([]byte(r.Lock)))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return nil, fmt.Errorf("the task's lock can't be read: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the task's lock can't be read: something follows it")
	}
	if err := l.Check(); err != nil {
		return nil, err
	}
	if l.For != listed(r.Pip, r.Conda) {
		return nil, errors.New("the task's list of packages was edited since its lock was written")
	}
	return &l, nil
}

// listed is the digest of the lists that a task shows beside its lock.
func listed(pip, conda []string) string { return envcache.DigestOf(slices.Concat(pip, conda)) }

// lockText is the lock as it goes to the server, beside the lists. One that no agent
// would take is an error.
func lockText(l *envcache.Lock, pip, conda []string) (string, error) {
	out := *l
	out.For = listed(pip, conda)
	if err := out.Check(); err != nil {
		return "", err
	}
	data, err := json.Marshal(out)
	if err != nil {
		return "", fmt.Errorf("cannot write the lock: %w", err)
	}
	if len(data) > mostLock {
		return "", fmt.Errorf("the lock is longer than %d bytes", mostLock)
	}
	return string(data), nil
}
