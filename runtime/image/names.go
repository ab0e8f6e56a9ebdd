package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

// refRecord is what a reference was when it was last looked up.
type refRecord struct {
	Version  int       `json:"version"`
	Ref      string    `json:"ref"`
	Platform string    `json:"platform"`
	Digest   string    `json:"digest"`
	Key      string    `json:"key"`
	Looked   time.Time `json:"looked"`
	Stamp    string    `json:"stamp,omitempty"` // of the file that it was read from
}

func (s *Store) refFile(ref, platform string) string {
	return filepath.Join(s.dir, "refs", refKey(ref, platform)+".json")
}

// remember writes down which image a reference is.
func (s *Store) remember(rec refRecord) error {
	rec.Version = 1
	path := s.refFile(rec.Ref, rec.Platform)
	var was refRecord
	if fsx.ReadJSON(path, &was) == nil && was.Key == rec.Key && was.Stamp == rec.Stamp {
		return nil
	}
	if err := fsx.WriteJSON(path, rec, 0o600); err != nil {
		return err
	}
	crash.Point("image.named")
	return nil
}

// recall tells which image a reference was; fs.ErrNotExist if it was none.
func (s *Store) recall(ref, platform string) (refRecord, error) {
	var rec refRecord
	err := fsx.ReadJSON(s.refFile(ref, platform), &rec)
	if err == nil && (rec.Version != 1 || rec.Ref != ref || rec.Platform != platform) {
		err = fs.ErrNotExist
	}
	return rec, err
}

// refs lists all references. One that can't be read is as if it were not there.
func (s *Store) refs() ([]refRecord, error) {
	files, err := os.ReadDir(filepath.Join(s.dir, "refs"))
	if err != nil {
		return nil, fmt.Errorf("cannot list images: %w", err)
	}
	var all []refRecord
	for _, f := range files {
		var rec refRecord
		if strings.HasSuffix(f.Name(), ".json") && fsx.ReadJSON(filepath.Join(s.dir, "refs", f.Name()), &rec) == nil && rec.Version == 1 {
			all = append(all, rec)
		}
	}
	return all, nil
}

// forget removes references: those that gone wants.
func (s *Store) forget(gone func(refRecord) bool) error {
	all, err := s.refs()
	for _, rec := range all {
		if !gone(rec) {
			continue
		}
		if rerr := os.Remove(s.refFile(rec.Ref, rec.Platform)); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// stamp tells one state of the file of a local image from another.
func stamp(ref Reference) string {
	path := ref.path
	if ref.where == inLayout {
		path = filepath.Join(path, "index.json")
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
}
