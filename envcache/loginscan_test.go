package envcache

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"agentctl/envcache/internal/secret"
	"agentctl/internal/tree"
)

// What a cache of downloads keeps of logins goes, and nothing else does.
func TestLoginsInDownloads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	far := string(make([]byte, 3*mostKept))
	writeFiles(t, dir, map[string]string{
		"pip-7/msgpack": "vary\x81\xadAuthorization\xb0Basic dXNlcjpwYXNz", "pip-7/long": "vary\x81\xadauthorization\xd9\x80Bearer abc", "pip-7/known": "x4711-known",
		"poetry-7/a/tail": far + "\xadAuthorization\xb0Basic dXNlcjpwYXNz", "pip-7/readme": "Authorization: Basic usage of Authorization\nBasic auth",
		"pip-7/body": far, "pip-7/empty": "", "pip-7/older": "x4711-known", "pip-77/others": "x4711-known",
		"wheels-7/wheel": "x4711-known", "conda-7/packages/x/file": "x4711-known",
	})
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "pip-7", "older"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "pip-7", "link")); err != nil {
		t.Fatal(err)
	}
	known := &secret.Redactor{}
	known.Add(secret.Login{User: "u", Password: "x4711-known"})
	if err := forgetLoginsIn(dir, 7, time.Now().Add(-time.Minute), known); err != nil {
		t.Fatal(err)
	}
	var left []string
	err := tree.Walk(dir, func(n tree.Node) error {
		if !n.Info.IsDir() {
			left = append(left, n.Name)
		}
		return nil
	}, nil)
	if want := []string{"file", "body", "empty", "link", "older", "readme", "others", "wheel"}; err != nil || !slices.Equal(left, want) {
		t.Fatalf("left %q, not %q, %v", left, want, err)
	}
}
