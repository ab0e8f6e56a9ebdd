package server

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"agentctl/internal/crash"
)

// fileStore keeps uploaded files below one folder. Every path from outside goes
// through os.Root, which no ".." and no symbolic link leads out of.
type fileStore struct {
	root  *os.Root
	dirty atomic.Bool // a content may have lost its last path
}

// receivedDir holds what is being received. No client's path leads into it.
const receivedDir = ".receiving"

// Bounds of a client's path. Each level costs a system call or two.
const (
	maxPath  = 2048
	maxDepth = 64
)

func openFiles(dir string) (*fileStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of uploaded files: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the folder of uploaded files: %w", err)
	}
	// What an earlier server had half received.
	err = root.RemoveAll(receivedDir)
	if err == nil {
		err = root.Mkdir(receivedDir, 0o700)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot clear the folder of uploads: %w", err), root.Close())
	}
	f := &fileStore{root: root}
	f.dirty.Store(true) // an earlier server may have died before it swept
	return f, nil
}

func (f *fileStore) close() error { return f.root.Close() }

// clean turns a client's path into one below the store, or refuses it.
func (f *fileStore) clean(name string) (string, error) {
	p := path.Clean(strings.TrimLeft(name, "/"))
	first, _, _ := strings.Cut(p, "/")
	switch {
	case strings.ContainsRune(name, 0), !filepath.IsLocal(p), p == ".", first == receivedDir, first == contentDir,
		len(p) > maxPath, strings.Count(p, "/") >= maxDepth:
		return "", refuse(400, 0, "Invalid path %.200q", name)
	}
	return p, nil
}

var errCutOff = refuse(400, 0, "Bad request: the upload is cut off")

// put stores what r holds under name, replacing what was there. After it returns
// the bytes survive a power cut; a reader sees the old file or the new one.
func (f *fileStore) put(name string, r io.Reader) (err error) {
	dest, err := f.clean(name)
	if err != nil {
		return err
	}
	tmp := path.Join(receivedDir, newID())
	file, err := f.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return f.fault(err)
	}
	defer func() {
		if err != nil {
			_ = f.root.Remove(tmp) // the sweep at the next start finds what is left
		}
	}()
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, sum), r)
	if err != nil && !errors.As(err, new(syscall.Errno)) {
		err = errCutOff // the client's doing, not the disk's
	}
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		if errors.Is(err, errCutOff) {
			return err
		}
		return f.fault(err)
	}
	crash.Point("server.upload")
	f.dirty.Store(true)
	tmp = f.share(tmp, sum)
	return f.publish(tmp, dest)
}

// publish moves a received file to its place and makes the move durable, the
// folders that it needed with it.
func (f *fileStore) publish(tmp, dest string) error {
	changed := []string{path.Dir(dest)}
	for dir := path.Dir(dest); dir != "."; dir = path.Dir(dir) {
		if _, err := f.root.Stat(dir); err == nil {
			break
		}
		changed = append(changed, path.Dir(dir))
	}
	if err := f.move(tmp, dest); err != nil {
		return f.fault(err)
	}
	for _, dir := range changed {
		if err := f.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// move makes the folders and renames. A delete may take an empty folder away in
// between, so it tries again.
func (f *fileStore) move(tmp, dest string) (err error) {
	for range 10 {
		if err = f.root.MkdirAll(path.Dir(dest), 0o700); err != nil {
			return err
		}
		if err = f.root.Rename(tmp, dest); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

func (f *fileStore) syncDir(name string) error {
	d, err := f.root.Open(name)
	if err != nil {
		return f.fault(err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return f.fault(err)
}

// fault turns errors that the client's path has caused into refusals, and a full
// disk into one that the client repeats.
func (f *fileStore) fault(err error) error {
	var number syscall.Errno
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &number): // os.Root: the path leads out of the store
		return refuse(400, 0, "Invalid path")
	case errors.Is(err, fs.ErrNotExist):
		return refuse(404, 0, "File not found")
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR),
		errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.EINVAL):
		return refuse(400, 0, "Invalid path: a name is too long, or a file stands where a folder is needed")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return refuse(503, 0, "Service unavailable: the disk is full")
	}
	return fmt.Errorf("cannot store a file: %w", err)
}

// open gives a whole file for reading.
func (f *fileStore) open(name string) (*os.File, fs.FileInfo, error) {
	p, err := f.clean(name)
	if err != nil {
		return nil, nil, err
	}
	file, err := f.root.Open(p)
	if err != nil {
		return nil, nil, f.fault(err)
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = file.Close()
		return nil, nil, refuse(404, 0, "File not found")
	}
	return file, info, nil
}

// remove deletes a file, and the folders that it leaves empty.
func (f *fileStore) remove(name string) error {
	file, _, err := f.open(name)
	if err != nil {
		return err
	}
	_ = file.Close()
	p, err := f.clean(name)
	if err != nil {
		return err
	}
	if err := f.root.Remove(p); err != nil {
		return f.fault(err)
	}
	f.dirty.Store(true)
	f.removeEmpty(path.Dir(p))
	return nil
}

// removeEmpty removes folders upwards until one is not empty, or somebody stores
// there again.
func (f *fileStore) removeEmpty(dir string) {
	for dir != "." && f.root.Remove(dir) == nil {
		dir = path.Dir(dir)
	}
}
