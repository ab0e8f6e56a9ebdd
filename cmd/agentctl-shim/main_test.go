package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The shim runs in any image and starts in two milliseconds: static, small, and
// without packages that do work when they are loaded.
func TestProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agentctl-shim")
	if out, err := exec.Command("bash", "../../test/setup/shim.sh", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if st, err := os.Stat(path); err != nil || st.Size() > 10<<20 {
		t.Errorf("%v, %v", st, err)
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it needs a dynamic linker, which an image may not have")
		}
	}
	out, err := exec.Command(path).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "started by agentctl") {
		t.Errorf("started by hand it says %q, %v", out, err)
	}
}

func TestImports(t *testing.T) {
	// libcontainer brings net, os/exec and os/user, a tenth of a millisecond.
	out, err := exec.Command("go", "list", "-tags", "seccomp netgo osusergo", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, heavy := range []string{"net/http", "regexp", "log/slog", "text/template", "crypto/tls"} {
		if slices.Contains(strings.Fields(string(out)), heavy) {
			t.Errorf("%s slows the start of every task", heavy)
		}
	}
}
