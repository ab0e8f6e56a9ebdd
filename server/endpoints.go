package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"agentctl/internal/fsx"
)

// Endpoints are the addresses of a server, as URLs.
type Endpoints struct {
	API   string `json:"api"`
	Files string `json:"files"`
	Web   string `json:"web"`
	// PID is the process that serves them.
	PID int `json:"pid"`
}

const (
	endpointFile = "endpoint.json"
	lockFile     = "lock"
	storeFile    = "server.db"
	filesDir     = "files"
)

// ReadEndpoint tells which addresses the server in dir had last, and whether it
// runs. The error is fs.ErrNotExist when no server has run there yet.
func ReadEndpoint(dir string) (e Endpoints, alive bool, err error) {
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err != nil {
		return e, false, fmt.Errorf("cannot find a server in %s: %w", dir, err)
	}
	// A shared lock disturbs no server but one that takes its own at this very
	// moment, which tries again.
	lock, err := fsx.TryLockShared(filepath.Join(dir, lockFile))
	switch {
	case err == nil:
		_ = lock.Close()
	case errors.Is(err, fsx.ErrLocked):
		alive = true
	default:
		return e, false, err
	}
	err = fsx.ReadJSON(filepath.Join(dir, endpointFile), &e)
	if alive && errors.Is(err, fs.ErrNotExist) {
		return e, false, fmt.Errorf("the server in %s is starting: %w", dir, err)
	}
	return e, alive, err
}
