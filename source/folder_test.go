package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/spec"
)

func folderText(dir string, files ...string) string {
	var all []spec.File
	for i := 0; i < len(files); i += 2 {
		all = append(all, spec.File{Name: filepath.Join(dir, files[i]), Text: []byte(files[i+1])})
	}
	return string(spec.Join(all))
}

func (f *following) holds(want string) {
	f.t.Helper()
	f.until("the wanted text", func(r reading) bool { return r.err == nil && string(r.text) == want })
}

// TestFolder: every change of what a folder holds is seen by events alone.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "b.yaml"), "b: 1\n")
	put(t, filepath.Join(dir, ".a.yaml.swp"), "no")
	put(t, filepath.Join(dir, ".#a.yaml"), "no")
	put(t, filepath.Join(dir, "a.yaml~"), "no")
	put(t, filepath.Join(dir, "sub.yaml", "x.yaml"), "no")
	f := followAs(t, follower{path: dir, read: readFolder, dirs: foldersOf, poll: byEvents})
	f.holds(folderText(dir, "b.yaml", "b: 1\n"))
	place(t, filepath.Join(dir, "a.yml"), "a: 1\n")
	f.holds(folderText(dir, "a.yml", "a: 1\n", "b.yaml", "b: 1\n"))
	place(t, filepath.Join(dir, "b.yaml"), "b: 2\n")
	f.holds(folderText(dir, "a.yml", "a: 1\n", "b.yaml", "b: 2\n"))
	must(t, os.Remove(filepath.Join(dir, "b.yaml")), os.Remove(filepath.Join(dir, "a.yml")))
	f.until("an empty folder", func(r reading) bool { return r.err != nil && strings.Contains(r.err.Error(), "there is no .yaml") })
	must(t, os.RemoveAll(dir))
	f.until("no folder", func(r reading) bool { return r.err != nil && strings.Contains(r.err.Error(), "is not there") })
	put(t, filepath.Join(dir, "c.yaml"), "c: 1\n")
	f.holds(folderText(dir, "c.yaml", "c: 1\n"))
}

// TestFolderOfKubernetes: files that lead through the link ..data change together.
func TestFolderOfKubernetes(t *testing.T) {
	dir := t.TempDir()
	state := func(n, text string) {
		put(t, filepath.Join(dir, "..v"+n, "a.yaml"), "a: "+text+"\n")
		put(t, filepath.Join(dir, "..v"+n, "b.yaml"), "b: "+text+"\n")
		must(t, os.Symlink("..v"+n, filepath.Join(dir, "..tmp")), os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	}
	state("1", "1")
	for _, name := range []string{"a.yaml", "b.yaml"} {
		must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
	}
	f := followAs(t, follower{path: dir, read: readFolder, dirs: foldersOf, poll: byEvents})
	f.holds(folderText(dir, "a.yaml", "a: 1\n", "b.yaml", "b: 1\n"))
	for i, text := range []string{"2", "3", "4"} {
		state(string(rune('2'+i)), text)
		f.holds(folderText(dir, "a.yaml", "a: "+text+"\n", "b.yaml", "b: "+text+"\n"))
	}
}

// TestFolderIsOneState: while files are swapped without pause, no reading mixes two
// states, though each file was read whole.
func TestFolderIsOneState(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"1", "2"} {
		put(t, filepath.Join(dir, "..v"+n, "a.yaml"), "a: "+n+"\n")
		put(t, filepath.Join(dir, "..v"+n, "b.yaml"), "b: "+n+"\n")
	}
	must(t, os.Symlink("..v1", filepath.Join(dir, "..data")), os.Symlink("..data/a.yaml", filepath.Join(dir, "a.yaml")), os.Symlink("..data/b.yaml", filepath.Join(dir, "b.yaml")))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Symlink([]string{"..v1", "..v2"}[i%2], filepath.Join(dir, "..tmp"))
			_ = os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))
		}
	}()
	whole := 0
	for range 2000 {
		r := readFolder(dir)
		if r.torn || r.err != nil {
			continue
		}
		whole++
		if text := string(r.text); strings.Contains(text, "a: 1") != strings.Contains(text, "b: 1") {
			t.Fatalf("a mix of two states: %s", text)
		}
	}
	close(stop)
	<-done
	t.Logf("%d of 2000 readings were of one state", whole)
}

// TestFolderSource: a folder is a source as a file is, over a restart.
func TestFolderSource(t *testing.T) {
	n := newNode(t)
	dir := filepath.Join(t.TempDir(), "nodes")
	put(t, filepath.Join(dir, "base.yaml"), string(text("one")))
	n.apply(dir)
	n.want("the folder "+dir, "one", "one")
	put(t, filepath.Join(dir, "base.yaml"), "kind: [")
	n.want("the folder "+dir, "invalid", "one")
	n.restart()
	place(t, filepath.Join(dir, "base.yaml"), string(text("two")))
	n.want("the folder "+dir, "two", "two")
	if u, err := n.m.Reload(t.Context(), false); err != nil || word(u.Text) != "two" {
		t.Error(word(u.Text), err)
	}
	if n.m.Current().Version != newVersion {
		t.Error("an older agentctl would take it for a fault")
	}
}
