package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"agentctl/envcache"
	"agentctl/internal/fsx"
)

// History reads the records of the tasks that a state folder holds, the newest
// first, with an agent running or without. The error joins what could not be read.
func History(state string) ([]*Record, error) {
	recs, errs := readRecords(filepath.Join(state, "tasks"))
	slices.SortFunc(recs, func(a, b *Record) int { return b.Leased.Compare(a.Leased) })
	return recs, errors.Join(errs...)
}

// Holds tells whether the task may be using its environment.
func (rec *Record) Holds() bool { return rec.EnvKey != "" && !rec.Phase.over() && rec.Exit == nil }

// Verdict is how the task ended, or what it is doing.
func (rec *Record) Verdict() string {
	if rec.Final != nil && rec.Final.Status != "" {
		return rec.Final.Status
	}
	return string(rec.Phase)
}

// TaskUser gives the ids that tasks of a worker with this runAs have.
func TaskUser(runAs string) (uid, gid int, err error) {
	id, err := resolveUser(runAs)
	return id.UID, id.GID, err
}

// keyFile says in a task's folder what the key of its environment is made of. It is
// long, and the journal would repeat it with every step.
const keyFile = "key.json"

// keepKey writes down what the environment's key is made of: `cache why` compares
// it with other environments when this one is gone.
func (r *run) keepKey(l *envcache.Lease) error {
	return fsx.ReplaceJSON(filepath.Join(r.dirs.root, keyFile), l.Parts, 0o600)
}

// KeyParts are what the key of a task's environment was made of; nil if the task's
// folder does not tell.
func KeyParts(state, task string) (parts []envcache.Part, err error) {
	if !validID.MatchString(task) {
		return nil, fmt.Errorf("%.64q is no task", task)
	}
	err = fsx.ReadJSON(filepath.Join(state, "tasks", task, keyFile), &parts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return parts, err
}
