package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"agentctl/spec"
)

// ReadError is why a source has no text.
type ReadError struct {
	reason string
	err    error
	git    bool
}

func (e *ReadError) Error() string {
	if e.git {
		return "cannot take the spec from git: " + e.err.Error()
	}
	return e.err.Error()
}
func (e *ReadError) Unwrap() error { return e.err }

// Reason is one word for programs: Missing, NotAFile, TooLarge, Unreadable, NoSource;
// of a repository GitUnreachable, GitAuth, RepositoryNotFound, RefNotFound,
// PathNotFound, NotAFile, TooLarge, NotSigned or NotDescendant.
func (e *ReadError) Reason() string { return e.reason }

// Git tells that it is a repository that has none.
func (e *ReadError) Git() bool { return e.git }

// ReadFile reads a spec file. An error is a *ReadError. What is no regular file is
// refused: a pipe would be waited for without end, and a device never ends.
func ReadFile(path string) ([]byte, error) {
	r := readFile(path)
	return r.text, r.err
}

// ReadPath reads a spec file, or all those of a folder. An error is a *ReadError.
func ReadPath(path string) ([]byte, error) {
	if isFolder(path) {
		r := readFolder(path)
		return r.text, r.err
	}
	return ReadFile(path)
}

// reading is one look at a file or a folder.
type reading struct {
	text []byte
	err  error
	// modified is when the file was last written to; torn says that it was while
	// it was read.
	modified time.Time
	torn     bool
	// fi is of the file that was read, which its path may not lead to any more.
	fi os.FileInfo
}

func readFile(path string) reading {
	fail := func(reason, format string, args ...any) reading {
		return reading{err: &ReadError{reason: reason, err: fmt.Errorf("cannot read the spec: "+format, args...)}}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not block
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return fail("Missing", "%s is not there", path)
	case err != nil:
		return fail("Unreadable", "%w", err)
	}
	defer func() { _ = f.Close() }()
	before, err := f.Stat()
	switch {
	case err != nil:
		return fail("Unreadable", "%w", err)
	case !before.Mode().IsRegular():
		return fail("NotAFile", "%s is a %s", path, kindOf(before.Mode()))
	}
	text, err := io.ReadAll(io.LimitReader(f, spec.MaxSize+1))
	switch {
	case err != nil:
		return fail("Unreadable", "%w", err)
	case len(text) > spec.MaxSize:
		return fail("TooLarge", "%s is larger than %s", path, spec.Size(spec.MaxSize))
	}
	after, err := f.Stat()
	if err != nil {
		return fail("Unreadable", "%w", err)
	}
	torn := !after.ModTime().Equal(before.ModTime()) || after.Size() != int64(len(text))
	return reading{text: text, modified: after.ModTime(), torn: torn, fi: after}
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
