// Package shimbin owns the shim's program as it is carried inside the agent's:
// the build writes it to the folder embedded/ beside this file before it builds
// the agent. A source tree without it compiles, and says so when it is asked
// for the shim.
package shimbin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"agentctl/internal/fsx"
)

//go:embed embedded
var embedded embed.FS

// ErrNotBuilt means that the program was built without its shim.
var ErrNotBuilt = errors.New("this program was built without its shim; run `just build`")

// Extract writes the shim to STATE/bin/agentctl-shim-DIGEST, read-only, unless
// the same bytes are there already, and returns the path. Running tasks keep the
// program that they were started with, so older ones are left alone.
func Extract(state string) (string, error) {
	data, err := embedded.ReadFile("embedded/agentctl-shim")
	if err != nil {
		return "", ErrNotBuilt
	}
	return extract(data, state)
}

func extract(data []byte, state string) (string, error) {
	sum := sha256.Sum256(data)
	dir := filepath.Join(state, "bin")
	path := filepath.Join(dir, "agentctl-shim-"+hex.EncodeToString(sum[:8]))
	if have, err := os.ReadFile(path); err == nil && sha256.Sum256(have) == sum {
		return path, os.Chmod(path, 0o555)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot write the shim: %w", err)
	}
	if err := fsx.WriteFile(path, data, 0o555); err != nil {
		return "", fmt.Errorf("cannot write the shim: %w", err)
	}
	return path, nil
}
