package server

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"agentctl/internal/fsx"
)

// Credentials are the operator's keys to a server.
type Credentials struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

const (
	credentialsFile = "credentials.json"
	tokenKeyFile    = "token.key"
)

// ReadCredentials reads the keys of the server in dir. The error is
// fs.ErrNotExist when no server has run there yet.
func ReadCredentials(dir string) (Credentials, error) {
	var c Credentials
	if err := fsx.ReadJSON(filepath.Join(dir, credentialsFile), &c); err != nil {
		return c, err
	}
	if c.AccessKey == "" || c.SecretKey == "" {
		return c, fmt.Errorf("cannot use %s: it holds no access_key or no secret_key", filepath.Join(dir, credentialsFile))
	}
	return c, nil
}

// loadCredentials reads the keys, making new ones at the first start.
func loadCredentials(dir string) (Credentials, error) {
	c, err := ReadCredentials(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	c = Credentials{AccessKey: "AC" + randomHex(15), SecretKey: randomHex(32)}
	return c, fsx.WriteJSON(filepath.Join(dir, credentialsFile), c, 0o600)
}

// loadTokenKey reads what tokens are signed with, making it at the first start.
// To make all tokens worthless, stop the server and remove the file.
func loadTokenKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, tokenKeyFile)
	key, err := os.ReadFile(path)
	if err == nil && len(key) >= 32 {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the token key: %w", err)
	}
	key = []byte(randomHex(32))
	return key, fsx.WriteFile(path, key, 0o600)
}

func (c Credentials) match(access, secret string) bool {
	a := subtle.ConstantTimeCompare([]byte(c.AccessKey), []byte(access))
	s := subtle.ConstantTimeCompare([]byte(c.SecretKey), []byte(secret))
	return a&s == 1
}

// randomHex gives 2n hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// newID makes an id as ClearML's are: 32 hexadecimal digits.
func newID() string { return randomHex(16) }
