package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// MaxSize is how large a spec file may be, in bytes.
const MaxSize = 1 << 20

// ReadFile reads a spec file. What is no regular file is refused: reading a pipe
// would wait for ever, and a device never ends.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot read the spec: %w", err)
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot read the spec: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("cannot read the spec: %s is no regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the spec: %w", err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("cannot read the spec: %s is larger than %d bytes", path, MaxSize)
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("cannot read the spec: %w", errEmpty)
	}
	return data, nil
}

var errEmpty = errors.New("the file is empty; to run no workers write a spec with `workers: []`")
