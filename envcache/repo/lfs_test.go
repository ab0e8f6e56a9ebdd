package repo

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

const somePointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func TestLFSPointersAreToldOf(t *testing.T) {
	u := newUpstream(t, map[string]string{"model.bin": somePointer, ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "short": "version https://git-lfs.github.com/spec/"})
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	bin := newState(t) // a PATH with git, cat and sh, without git-lfs
	for _, program := range []string{git, "/bin/sh", "/bin/cat"} {
		if err := os.Symlink(program, bin+program[strings.LastIndex(program, "/"):]); err != nil {
			t.Fatal(err)
		}
	}
	s := newStore(t, Options{Getenv: func(name string) string {
		if name == "PATH" {
			return bin
		}
		return os.Getenv(name)
	}})
	c := acquire(t, s, u.source())
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "1 files are kept in Git LFS") || !strings.Contains(c.Warnings[0], "model.bin") || !strings.Contains(c.Warnings[0], "apt-get install git-lfs") {
		t.Fatalf("%q", c.Warnings)
	}
	if again := acquire(t, s, u.source()); !again.Hit || len(again.Warnings) != 1 {
		t.Fatalf("%+v", again)
	}
}

func TestLFSFilesAreFetched(t *testing.T) {
	if _, err := exec.LookPath("git-lfs"); err != nil {
		t.Skipf("git-lfs is not installed: %v", err)
	}
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	u.git("lfs", "install", "--local")
	u.git("lfs", "track", "*.bin")
	u.write(map[string]string{"model.bin": strings.Repeat("weights", 1000)})
	u.commit("model")
	s := newStore(t, Options{})
	c := acquire(t, s, u.source())
	if read(t, c, "model.bin") != strings.Repeat("weights", 1000) || len(c.Warnings) != 0 {
		t.Fatalf("%.100q, %q", read(t, c, "model.bin"), c.Warnings)
	}
	if got := in(t, c.Path, "status", "--porcelain"); got != "" {
		t.Fatalf("status: %s", got)
	}
}
