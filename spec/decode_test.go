package spec

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"os"
)

// TestBadDocuments holds each message as people read it. A case whose name ends in
// .yaml is followed by its problems.
func TestBadDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { badDocuments(t, file) })
	}
}

func badDocuments(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(archive.Files); i += 2 {
		doc, want := archive.Files[i], &archive.Files[i+1]
		name := strings.TrimSuffix(doc.Name, ".yaml")
		if want.Name != name+".problems" {
			t.Fatalf("%s is not followed by its problems but by %s", doc.Name, want.Name)
		}
		node, problems := Decode(doc.Name, doc.Data)
		got := problems.String()
		if got != "" {
			got += "\n"
		}
		if *update {
			want.Data = []byte(got)
		}
		if diff := cmp.Diff(string(want.Data), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if refused := problems.Err() != nil; refused == (node != nil) {
			t.Errorf("%s: refused is %v, but the node is %v", name, refused, node)
		}
		checkPositions(t, doc.Data, problems)
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s: a message tells a secret:\n%s", name, got)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkPositions wants each problem inside the text and on one printable line.
func checkPositions(t *testing.T, data []byte, problems Problems) {
	t.Helper()
	lines := splitLines(data)
	for _, p := range problems {
		if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len([]rune(lines[p.Line-1]))+1 {
			t.Errorf("the position %d:%d is outside of the file: %s\n%q", p.Line, p.Column, p, data)
		}
		if s := p.String(); printable(s) != "" {
			t.Errorf("a message can't be printed: %q", s)
		}
		if p.Fault == "" {
			t.Errorf("a problem without a fault: %#v", p)
		}
	}
}
