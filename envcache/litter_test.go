package envcache

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"agentctl/internal/fsx"
)

// litter lists what is in envs/ and beside it that no whole entry explains.
func litter(t *testing.T, state string) []string {
	t.Helper()
	dir := filepath.Join(state, "envs")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Of a folder in use: the locks of ages and aliases, of collections, of its users.
	fixed := []string{".guard", ".collect", usersFile, bootFile}
	var bad []string
	for _, f := range files {
		key, suffix, _ := strings.Cut(f.Name(), ".")
		_, there := entryOf(dir, key)
		var ok bool
		switch suffix {
		case "", "json", "doubt", "manifest", "lock":
			ok = there
		case "age":
			ok = len(key) == 32
		case "alias": // as good as what it leads to
			var to alias
			ok = fsx.ReadJSON(filepath.Join(dir, f.Name()), &to) == nil
			rec, there := entryOf(dir, to.Key)
			ok = ok && there && rec.Settled == to.Lock
		default:
			ok = slices.Contains(fixed, f.Name())
		}
		if !ok {
			bad = append(bad, f.Name())
		}
	}
	if info, err := os.Lstat(filepath.Join(state, "tools")); err == nil && info.Mode().Type() == os.ModeSymlink {
		return bad // other tests are at work there
	}
	for _, pattern := range []string{"tools/.new*", "tools/.home*", "tools/.*.tmp-*"} {
		found, err := filepath.Glob(filepath.Join(state, pattern))
		if err != nil {
			t.Fatal(err)
		}
		bad = append(bad, found...)
	}
	return bad
}

// entryOf reads the record of an entry, in doubt or not.
func entryOf(dir, key string) (record, bool) {
	var rec struct{ Entry record }
	for _, suffix := range []string{".json", ".doubt"} {
		if fsx.ReadJSON(filepath.Join(dir, key+suffix), &rec) == nil {
			return rec.Entry, true
		}
	}
	return record{}, false
}

// noProcesses waits until no program runs any more that was started for the state
// folder. One that is dying has no environment any more, but its locks still.
func noProcesses(t *testing.T, state string) {
	t.Helper()
	running := func() (left []string) {
		locks, _ := filepath.Glob(filepath.Join(state, "envs", "*.lock"))
		for _, file := range locks {
			if l, err := fsx.TryLock(file); err != nil || l.Close() != nil {
				left = append(left, file)
			}
		}
		all, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, file := range all {
			if env, err := os.ReadFile(file); err == nil && bytes.Contains(env, []byte(state+"/")) {
				left = append(left, file)
			}
		}
		return left
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		left := running()
		if left == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still running: %q", left)
		}
	}
}

// anotherUptime has the next agent find the folder as after a power cut.
func anotherUptime(state string) error {
	file := filepath.Join(state, "envs", bootFile)
	if _, err := os.Stat(file); err != nil {
		return nil //nolint:nilerr // nobody used it yet
	}
	return os.WriteFile(file, []byte("another uptime\n"), 0o600)
}
