package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// seeds are all documents of the test data and of the examples.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	var docs [][]byte
	archives, _ := filepath.Glob("testdata/bad/*.txtar")
	for _, file := range archives {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if strings.HasSuffix(f.Name, ".yaml") {
				docs = append(docs, f.Data)
			}
		}
	}
	for _, file := range exampleFiles(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, data)
	}
	return docs
}

// FuzzDecode: never a panic; each problem stands inside the file and is printable;
// what is accepted is encoded and decoded to the same node.
func FuzzDecode(f *testing.F) {
	for _, doc := range seeds(f) {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, problems := Decode("node.yaml", data)
		checkPositions(t, data, problems)
		if (n == nil) != (problems.Err() != nil) {
			t.Fatalf("a node: %v, problems: %v", n != nil, problems)
		}
		_, some := DecodeFor("node.yaml", data, Host{Name: "gpu-07"})
		checkPositions(t, data, some)
		_, all := DecodeAll("node.yaml", data)
		checkPositions(t, data, all)
		if n == nil {
			return
		}
		for _, n := range []*Node{n, n.Default(env)} {
			encoded := mustEncode(t, n)
			back, problems := Decode("node.yaml", encoded)
			if err := problems.Err(); err != nil {
				t.Fatalf("what was accepted is not any more: %v\n%s", err, encoded)
			}
			if diff := cmp.Diff(n, back); diff != "" {
				t.Fatalf("(-before +after)\n%s\n%s", diff, encoded)
			}
			if c := Diff(n, back); len(c) > 0 {
				t.Fatalf("a node differs from itself: %v", c)
			}
			Expand(n)
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"0s", "90s", "7d", "1d12h", "1h30m", "2.5h", "999999d", "1ms", "10µs", "-1s", "d", "9223372036s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if back, err := ParseDuration(d.String()); d < 0 || err != nil || back != d {
			t.Fatalf("%q is %d, written %s, read back %d, %v", s, d, d, back, err)
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"0", "1", "512Mi", "16Gi", "100G", "1.5Gi", "0.1K", "7Ei", "8Ei", "9223372036854775807", "-1", "1e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		if back, err := ParseSize(n.String()); n < 0 || err != nil || back != n {
			t.Fatalf("%q is %d, written %s, read back %d, %v", s, n, n, back, err)
		}
	})
}
