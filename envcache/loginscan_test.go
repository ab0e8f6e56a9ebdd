package envcache

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"agentctl/envcache/internal/secret"
)

// What a cache of downloads keeps of logins goes, and nothing else does.
func TestLoginsInDownloads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	far := string(make([]byte, 3*mostKept))
	writeFiles(t, dir, map[string]string{
		"pip/msgpack": "vary\x81\xadAuthorization\xb0Basic dXNlcjpwYXNz", "pip/long": "vary\x81\xadauthorization\xd9\x80Bearer abc", "pip/known": "x4711-known",
		"poetry/tail": far + "\xadAuthorization\xb0Basic dXNlcjpwYXNz", "pip/readme": "Authorization: Basic usage of Authorization\nBasic auth",
		"pip/body": far, "pip/empty": "", "pip/older": "x4711-known",
	})
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "pip", "older"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "pip", "link")); err != nil {
		t.Fatal(err)
	}
	known := &secret.Redactor{}
	known.Add(secret.Login{User: "u", Password: "x4711-known"})
	if err := forgetLoginsIn(dir, time.Now().Add(-time.Minute), known); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if want := []string{"body", "empty", "link", "older", "readme"}; !slices.Equal(left, want) {
		t.Fatalf("left %q, not %q", left, want)
	}
}
