package quota

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

// Ledger hands out the numbers of projects for the folders below one, each to one owner
// at a time. What it handed out is in a file before it is used, so that whoever comes
// after a crash finds it.
type Ledger struct {
	dir  string
	mu   sync.Mutex
	held map[uint32][]string // folders by number; nil before the file was read
}

// ledgerFile is its name in the folder.
const ledgerFile = "projects.json"

type ledgerRecord struct {
	Version int                 `json:"version"`
	Held    map[uint32][]string `json:"held"`
}

// Of numbers a ledger has those of a window, which differs from that of another folder's
// unless chance will have it; others' numbers, as those of a container engine, begin at
// lower ones.
const (
	windowBase = 0x40000000
	windowMask = 0x0fff0000
	windowSize = 0xfff0
)

// New is the ledger of a folder. Nothing is read yet.
func New(dir string) *Ledger { return &Ledger{dir: dir} }

// Available tells why nothing below the folder can be limited, nil if it can.
func (l *Ledger) Available() error {
	dir, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return available(dir)
}

// Limit limits what is written below some folders, which are empty, to bytes in all. The
// limit ends when the folders are gone.
func (l *Ledger) Limit(bytes int64, folders ...string) error {
	dir, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := available(dir); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.sweep(dir); err != nil {
		return err
	}
	id, err := l.take(dir, folders)
	if err != nil {
		return err
	}
	crash.Point("quota.recorded")
	if err := limit(dir, id, bytes); err != nil {
		return fmt.Errorf("cannot limit the use of the disk: %w", err)
	}
	crash.Point("quota.limited")
	for _, folder := range folders {
		if err := assign(folder, id); err != nil {
			return fmt.Errorf("cannot limit the use of the disk: %w", err)
		}
	}
	return nil
}

// take finds a number for folders, that which they had if an agent died over it, and
// records it.
func (l *Ledger) take(dir *os.File, folders []string) (uint32, error) {
	for id, held := range l.held {
		if slices.Equal(held, folders) {
			return id, nil
		}
	}
	base := windowBase | crc32.ChecksumIEEE([]byte(l.dir))&windowMask
	for id := base + 1; id < base+windowSize; id++ {
		if l.held[id] != nil {
			continue
		}
		others, err := used(dir, id)
		if err != nil {
			return 0, fmt.Errorf("cannot look for a free project: %w", err)
		}
		if !others {
			l.held[id] = folders
			return id, l.save()
		}
	}
	return 0, errors.New("cannot find a project that is free: all have files")
}

// Sweep takes the limits of folders that are gone back.
func (l *Ledger) Sweep() error {
	if _, err := os.Lstat(filepath.Join(l.dir, ledgerFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	dir, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sweep(dir)
}

func (l *Ledger) sweep(dir *os.File) error {
	if err := l.load(); err != nil {
		return err
	}
	before := len(l.held)
	for id, folders := range l.held {
		if slices.ContainsFunc(folders, exists) {
			continue
		}
		// The disk may be another by now, or mounted without quotas.
		if err := limit(dir, id, 0); err != nil && available(dir) == nil {
			return fmt.Errorf("cannot take a limit back: %w", err)
		}
		crash.Point("quota.freed")
		delete(l.held, id)
	}
	if len(l.held) == before {
		return nil
	}
	return l.save()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func (l *Ledger) load() error {
	if l.held != nil {
		return nil
	}
	var rec ledgerRecord
	err := fsx.ReadJSON(filepath.Join(l.dir, ledgerFile), &rec)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if l.held = rec.Held; l.held == nil {
		l.held = map[uint32][]string{}
	}
	return nil
}

// save writes the file. A power cut may take it back: then the files of those that were
// forgotten tell that their numbers are in use.
func (l *Ledger) save() error {
	return fsx.ReplaceJSON(filepath.Join(l.dir, ledgerFile), ledgerRecord{Version: 1, Held: l.held}, 0o600)
}
