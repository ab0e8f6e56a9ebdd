package shelf

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/internal/tree"
)

const (
	recordSuffix  = ".json"
	partialSuffix = ".partial"
	dirtySuffix   = ".dirty"
	lockSuffix    = ".lock"
	guardFile     = ".guard"
	workPrefix    = ".work-"
	trashPrefix   = ".trash-"
	version       = 1
)

var keyShape = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Shelf is a folder of entries whose records are of the type R. Its methods may
// be called from many goroutines and processes at once.
type Shelf[R any] struct {
	name string
	dir  string
	side []string
	lazy bool
	log  *slog.Logger
}

// Options of a Shelf.
type Options struct {
	// Name stands in front of the crash points.
	Name string
	// Side are further suffixes of files that belong to an entry and go with it.
	Side []string
	// Lazy has an entry published before its bytes are on the disk. Whoever opens the
	// shelf after the machine went down then calls DoubtAll, unless Flush was the last
	// thing that was done.
	Lazy bool
	Log  *slog.Logger
}

// Open opens the shelf in dir, which it creates, and removes what dead
// processes left there.
func Open[R any](dir string, opts Options) (*Shelf[R], error) {
	// Entries are reached by users that are not the agent; they can't list the folder.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", dir, err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", dir, err)
	}
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Shelf[R]{opts.Name, dir, opts.Side, opts.Lazy, log}
	return s, s.Sweep()
}

// Dir is the folder of the shelf.
func (s *Shelf[R]) Dir() string { return s.dir }

// Path is the folder of an entry.
func (s *Shelf[R]) Path(key string) string { return filepath.Join(s.dir, key) }

// record is what stands in KEY.json.
type record[R any] struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	Bytes   int64     `json:"bytes"`
	Entry   R         `json:"entry"`
}

func (s *Shelf[R]) point(step string) { crash.Point(s.name + "." + step) }

func (s *Shelf[R]) at(key, suffix string) string { return filepath.Join(s.dir, key+suffix) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// whole reads the record of an entry, and fails if the entry is not there to be
// leased. It looks at markers and the top folder only, never at files inside.
func (s *Shelf[R]) whole(key string) (record[R], error) {
	rec, err := s.stands(key, recordSuffix)
	if err != nil && exists(s.at(key, doubtSuffix)) && s.doubtful(key) {
		err = ErrDoubt
	}
	return rec, err
}

// stands reads the record of an entry that is there, by the name that the record has.
func (s *Shelf[R]) stands(key, suffix string) (record[R], error) {
	var rec record[R]
	info, err := os.Lstat(s.Path(key))
	if err != nil {
		return rec, err
	}
	if !info.IsDir() || exists(s.at(key, partialSuffix)) || exists(s.at(key, dirtySuffix)) {
		return rec, fs.ErrNotExist
	}
	if err := fsx.ReadJSON(s.at(key, suffix), &rec); err != nil {
		return rec, err
	}
	if rec.Version != version {
		return rec, fmt.Errorf("record version %d is not %d: %w", rec.Version, version, fs.ErrNotExist)
	}
	return rec, nil
}

// files are the suffixes of all that belongs to an entry beside its folder, but
// for its lock; the marker of a build goes last.
func (s *Shelf[R]) files() []string {
	return slices.Concat([]string{recordSuffix, doubtSuffix, dirtySuffix}, s.side, []string{partialSuffix})
}

// remove removes the entry; the caller holds its lock exclusively. The record
// goes first: without it nothing looks whole after a crash, and unlike a marker
// that needs no room on a full disk. The bytes go last, so that the key is free
// at once.
func (s *Shelf[R]) remove(key string) error {
	for _, suffix := range []string{recordSuffix, doubtSuffix} {
		if err := drop(s.at(key, suffix)); err != nil {
			return err
		}
	}
	if err := fsx.SyncDir(s.dir); err != nil {
		return err
	}
	s.point("remove.marked")
	trash, err := s.discard(key)
	if err != nil {
		return err
	}
	s.point("remove.moved")
	for _, suffix := range s.files() {
		if err := drop(s.at(key, suffix)); err != nil {
			return err
		}
	}
	s.point("remove.forgotten")
	if trash != "" {
		if err := tree.Remove(trash); err != nil {
			return fmt.Errorf("cannot remove %s: %w", trash, err)
		}
	}
	return nil
}

func (s *Shelf[R]) mark(key, what string) error {
	return fsx.WriteFile(s.at(key, partialSuffix), []byte(what+"\n"), 0o600)
}

// discard moves the folder of an entry out of the way; "" if there is none.
func (s *Shelf[R]) discard(key string) (string, error) {
	trash, err := os.MkdirTemp(s.dir, trashPrefix+key+"-")
	if err != nil { // a full disk has no room for a folder
		return "", tree.Remove(s.Path(key))
	}
	// A folder that moves must be writable, unless one is root.
	if info, err := os.Lstat(s.Path(key)); err == nil && info.IsDir() && info.Mode().Perm()&0o200 == 0 {
		_ = os.Chmod(s.Path(key), 0o700)
	}
	err = os.Rename(s.Path(key), filepath.Join(trash, "entry"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", os.Remove(trash)
	case errors.Is(err, fs.ErrPermission): // another's folder does not move
		err = tree.Remove(s.Path(key))
	}
	return trash, err
}

func drop(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
