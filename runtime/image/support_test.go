package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"agentctl/internal/tree"
	"agentctl/test/imagekit"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("IMAGE_TEST_CHILD"); dir != "" {
		child(dir)
	}
	if len(os.Args) > 1 && os.Args[1] == "inside" {
		os.Exit(Inside())
	}
	goleak.VerifyTestMain(m)
}

// noEnv is an environment without anybody's credentials.
func noEnv(string) string { return "" }

// openStore opens a store that trusts the registries, and may speak to those without TLS.
func openStore(t *testing.T, dir string, change func(*Options), registries ...*imagekit.Registry) *Store {
	t.Helper()
	o := Options{Getenv: noEnv}
	for _, r := range registries {
		if r.TLS {
			o.CAs = append(o.CAs, r.Certificate())
		} else {
			o.Insecure = append(o.Insecure, r.Host())
		}
	}
	if change != nil {
		change(&o)
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	s.backoff = time.Millisecond
	if s.transport, err = s.newTransport(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func acquire(t *testing.T, s *Store, req Request) *Lease {
	t.Helper()
	l, err := s.Acquire(t.Context(), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// litter lists what is in a store besides whole entries, their files and locks.
func litter(t *testing.T, dir string) (bad []string) {
	t.Helper()
	for _, shelf := range []string{"images", "layers", "added"} {
		files, err := os.ReadDir(filepath.Join(dir, shelf))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			key, suffix, _ := strings.Cut(f.Name(), ".")
			_, err := os.Stat(filepath.Join(dir, shelf, key+".json"))
			if whole := err == nil && key != "" && suffix != "partial"; !whole && f.Name() != ".collect" {
				bad = append(bad, shelf+"/"+f.Name())
			}
		}
	}
	top, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range top {
		switch f.Name() {
		case "images", "layers", "added", "refs", "ids.json", "boot", "boot.lock", ".layers":
		default:
			bad = append(bad, f.Name())
		}
	}
	return bad
}

// files lists what is in folders for overlayfs, the topmost first, as a sandbox would
// see it, but for marks.
func files(t *testing.T, layers []string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	for _, dir := range layers {
		err := tree.Walk(dir, func(n tree.Node) error {
			if _, ok := seen[n.Rel]; ok {
				return nil
			}
			seen[n.Rel] = n.Info.Mode().String()
			if n.Info.Mode().IsRegular() {
				data, err := os.ReadFile(filepath.Join(dir, n.Rel))
				seen[n.Rel] += " " + string(data)
				return err
			}
			return nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	return seen
}
