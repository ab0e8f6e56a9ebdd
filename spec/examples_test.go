package spec

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// exampleFiles are the node files of examples/, those in folders too.
func exampleFiles(t testing.TB) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir("../examples", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if data, err := os.ReadFile(path); strings.HasSuffix(path, ".yaml") && err == nil && strings.Contains("\n"+string(data), "\nkind: "+KindNode+"\n") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestExamples: each example is accepted; those that stand for themselves also say
// where the schema is, and warn only where their own comments do.
func TestExamples(t *testing.T) {
	files := exampleFiles(t)
	if len(files) < 5 {
		t.Fatalf("only %d examples: %v", len(files), files)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		nodes, problems := DecodeAll(file, data)
		if err := problems.Err(); err != nil {
			t.Error(err)
			continue
		}
		for _, n := range nodes {
			if workers := Expand(n.Default(env)); len(workers) == 0 {
				t.Errorf("%s: no workers", file)
			}
		}
		lines := strings.Split(string(data), "\n")
		if filepath.Dir(file) != "../examples" {
			continue // those in folders are part of something else
		}
		schema, found := strings.CutPrefix(lines[0], "# yaml-language-server: $schema=")
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), schema)); !found || err != nil {
			t.Errorf("%s: the first line names no schema that is there: %q", file, lines[0])
		}
		for _, p := range problems.Warnings() {
			if !strings.Contains(lines[p.Line-1], "no effect yet") {
				t.Errorf("%s\nand the line has no comment with `no effect yet`", p)
			}
		}
	}
}
