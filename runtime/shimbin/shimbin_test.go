package shimbin

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestExtract(t *testing.T) {
	state := t.TempDir()
	first, err := extract([]byte("one"), state)
	if err != nil {
		t.Fatal(err)
	}
	second, err := extract([]byte("two"), state)
	if err != nil || second == first {
		t.Fatalf("another program lies at %s too: %v", second, err)
	}
	st, err := os.Stat(first)
	if err != nil || st.Mode().Perm() != 0o555 {
		t.Fatalf("%v, %v", st, err)
	}
	if _, err := extract([]byte("one"), state); err != nil {
		t.Fatal(err)
	}
	again, err := os.Stat(first)
	if err != nil || !os.SameFile(st, again) {
		t.Errorf("the same bytes were written again: %v", err)
	}
	// Half a file, or a changed one, is replaced.
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(first, []byte("o"), 0o555); err != nil {
		t.Fatal(err)
	}
	if _, err := extract([]byte("one"), state); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(first); err != nil || string(data) != "one" {
		t.Errorf("%q, %v", data, err)
	}
	if left, err := os.ReadDir(filepath.Join(state, "bin")); err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
}

// A tree without the built shim says what to do; one with it has a program.
func TestEmbedded(t *testing.T) {
	path, err := Extract(t.TempDir())
	if _, missing := embedded.ReadFile("embedded/agentctl-shim"); missing != nil {
		if !errors.Is(err, ErrNotBuilt) {
			t.Errorf("Extract: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() > 10<<20 {
		t.Errorf("the shim: %v, %v", st, err)
	}
}
