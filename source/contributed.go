package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/samber/lo"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/spec"
)

// maxContributions bounds what a loop of a script may leave.
const maxContributions = 200

// Contribution is workers that a command adds to those of the source, and that stay
// until a command takes them away.
type Contribution struct {
	Version int `json:"version"`
	// ID is that of the worker; several groups together have one, and each its own.
	ID      string            `json:"id"`
	Workers []spec.WorkerSpec `json:"workers"`
	By      string            `json:"by,omitempty"`
	Since   time.Time         `json:"since"`
	// Command is what was typed, without secrets.
	Command string `json:"command,omitempty"`
	// Git is a file with logins of git hosts, for a node that has none.
	Git   string `json:"git,omitempty"`
	Owner Owner  `json:"owner,omitzero"`
}

// Owner is the process that stays with its contribution. Without a PID it is nobody's,
// for as long as the machine runs.
type Owner struct {
	Boot string `json:"boot,omitempty"`
	PID  int    `json:"pid,omitempty"`
	// Start is when it was started, as the kernel counts: pids come again.
	Start string `json:"start,omitempty"`
}

// Origin says for people where it comes from. It is the name of its layer.
func (c Contribution) Origin() string {
	by := c.By
	if by == "" {
		by = "somebody"
	}
	return fmt.Sprintf("daemon %s, by %s, %s", c.ID, by, c.Since.UTC().Format(time.RFC3339))
}

func (c Contribution) layer() (spec.File, error) {
	text, err := spec.EncodePatch("contributed-"+spec.NodeName(c.ID), c.Workers, spec.Git{CredentialsFile: c.Git})
	return spec.File{Name: c.Origin(), Text: text}, err
}

// Wanted is a contribution that is asked for.
type Wanted struct {
	Contribution
	// Slot adds to the ID the first number that makes it one of its own.
	Slot bool
	// Abandoned tells that another one, of the same ID, may be replaced.
	Abandoned func(Contribution) bool
}

// ContributionError refuses a contribution, or a source in its place.
type ContributionError struct{ message string }

func (e *ContributionError) Error() string { return e.message }

func (m *Manager) contributedDir() string { return filepath.Join(m.dir, "contributed") }

// contributedFile is named by a digest: an ID may hold anything.
func (m *Manager) contributedFile(id string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(m.contributedDir(), hex.EncodeToString(sum[:8])+".json")
}

// Contributions lists what is contributed, oldest first.
func (m *Manager) Contributions() []Contribution {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.contributed)
}

// loadContributed reads what was contributed. None goes with a repository: what is left
// of them then is of an order that was cut short.
func (m *Manager) loadContributed() error {
	entries, err := os.ReadDir(m.contributedDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot list contributed workers: %w", err)
	}
	var list []Contribution
	for _, e := range entries {
		path := filepath.Join(m.contributedDir(), e.Name())
		if !strings.HasSuffix(path, ".json") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		var c Contribution
		err := fsx.ReadJSON(path, &c)
		if err == nil && (c.Version < 1 || c.Version > recordVersion || len(c.Workers) == 0 || m.contributedFile(c.ID) != path) {
			err = fmt.Errorf("version %d is not known, or it is no record of contributed workers", c.Version)
		}
		if err != nil {
			return fmt.Errorf("cannot read contributed workers %s, remove it if they are not wanted: %w", path, err)
		}
		list = append(list, c)
	}
	if m.source.Kind == KindGit {
		return m.dropContributed(list)
	}
	m.contributed = sorted(list)
	return nil
}

func sorted(list []Contribution) []Contribution {
	slices.SortFunc(list, func(a, b Contribution) int {
		if n := a.Since.Compare(b.Since); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// Contribute adds workers to those of the source, durably. The caller hands the Update
// on; what it then has is what Contributions lists.
func (m *Manager) Contribute(w Wanted) (Contribution, Update, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	c, list, err := m.place(w)
	if err != nil {
		return c, Update{}, err
	}
	c.Version = recordVersion
	if err := os.MkdirAll(m.contributedDir(), 0o700); err != nil {
		return c, Update{}, fmt.Errorf("cannot record contributed workers: %w", err)
	}
	crash.Point("source.contribute")
	if err := fsx.WriteJSON(m.contributedFile(c.ID), c, 0o600); err != nil {
		return c, Update{}, fmt.Errorf("cannot record contributed workers: %w", err)
	}
	crash.Point("source.contributed")
	return c, m.contributes(list, Word{By: c.By, Message: c.Command}), nil
}

// Withdraw takes contributed workers away; false if there are none of this ID.
func (m *Manager) Withdraw(id, by string) (Update, bool, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	list := m.Contributions()
	left := lo.Reject(list, func(c Contribution, _ int) bool { return c.ID == id })
	if len(left) == len(list) {
		return Update{}, false, nil
	}
	crash.Point("source.withdraw")
	if err := m.removeContributed(id); err != nil {
		return Update{}, true, err
	}
	crash.Point("source.withdrawn")
	return m.contributes(left, Word{By: by, Message: "daemon --stop " + id}), true, nil
}

// contributes makes list what is contributed, and reads the source anew: after the
// number is taken, so that what its follower reads later counts as newer.
func (m *Manager) contributes(list []Contribution, word Word) Update {
	m.mu.Lock()
	m.contributed, m.contributing = list, word
	m.seq++
	u := Update{Source: m.source, Text: m.text, Seq: m.seq}
	m.mu.Unlock()
	if u.Source.Kind == KindFile || u.Source.Kind == KindFolder {
		r, _ := calm(context.Background(), u.Source) // for some milliseconds, whoever waits
		u.Text, u.Err = r.text, r.err
	}
	return u
}

// dropContributed removes those that a repository does not go with.
func (m *Manager) dropContributed(list []Contribution) error {
	for _, c := range list {
		crash.Point("source.drop")
		if err := m.removeContributed(c.ID); err != nil {
			return err
		}
		m.opts.Log.Warn("contributed workers are gone: the spec comes from a repository", "id", c.ID, "by", c.By, "since", c.Since)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.contributed = nil
	return nil
}

func (m *Manager) removeContributed(id string) error {
	err := os.Remove(m.contributedFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = fsx.SyncDir(m.contributedDir())
	}
	if err != nil {
		return fmt.Errorf("cannot take contributed workers away: %w", err)
	}
	return nil
}
