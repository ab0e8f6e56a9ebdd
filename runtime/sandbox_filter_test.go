package runtime

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/contain"
)

// The filter of system calls is kept beside the shim; one that is damaged is made anew.
func TestFilterIsKept(t *testing.T) {
	shim := filepath.Join(t.TempDir(), "agentctl-shim")
	must(t, exec.Command("cp", realShim(t), shim).Run())
	must(t, os.Chmod(filepath.Dir(shim), 0o755))
	layer := busyboxLayer(t)
	length := func() int {
		t.Helper()
		cfg := boxConfig(t, "echo staying; exec sleep 1000", layer)
		task, err := launcher(shim).Start(t.Context(), cfg)
		must(t, err)
		untilHidden(t, cfg)
		pids, err := contain.Descendants(task.PID())
		must(t, err)
		n := len(loadedFilter(t, pids[len(pids)-1]))
		must(t, task.Kill())
		_, err = task.Wait(t.Context())
		must(t, err)
		return n
	}
	first := length()
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(shim), "filter-*"))
	must(t, err)
	if len(kept) != 1 {
		t.Fatalf("kept are %q: this kernel does not show the filter", kept)
	}
	whole, err := os.ReadFile(kept[0])
	must(t, err)
	if n := (len(whole) - 8 - sha256.Size) / 8; n != first {
		t.Errorf("%d instructions are kept, %d were loaded", n, first)
	}
	flipped := bytes.Clone(whole)
	flipped[100] ^= 1
	for name, damaged := range map[string][]byte{"empty": {}, "cut": whole[:len(whole)/2], "cut to its end": whole[len(whole)-sha256.Size:], "flipped": flipped} {
		must(t, os.WriteFile(kept[0], damaged, 0o600))
		if n := length(); n != first {
			t.Errorf("%s: %d instructions, not %d", name, n, first)
		}
		if again, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(again, whole) {
			t.Errorf("%s: %d bytes are kept then, not the %d of before: %v", name, len(again), len(whole), err)
		}
	}
	// A whole one is taken as it is.
	short, err := binary.Append(make([]byte, 8), binary.NativeEndian, []unix.SockFilter{{Code: unix.BPF_RET, K: 0x7fff0000}})
	must(t, err)
	sum := sha256.Sum256(short)
	must(t, os.WriteFile(kept[0], append(short, sum[:]...), 0o600))
	if n := length(); n != 1 {
		t.Errorf("%d instructions, though another filter is kept", n)
	}
}
