package mounts

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"

	"agentctl/runtime/internal/record"
)

// The test binary builds a view and becomes a shell that looks at it.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "view" {
		fmt.Fprintln(os.Stderr, look(os.Args[2], os.Args[3], os.Args[4]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func look(way, spec, script string) error {
	goruntime.LockOSThread()
	forceClassic = way == "classic"
	var s Spec
	if err := json.Unmarshal([]byte(spec), &s); err != nil {
		return err
	}
	v := Begin(s)
	if err := Enter(); err != nil {
		return err
	}
	if err := v.Build(); err != nil {
		return err
	}
	return syscall.Exec("/bin/sh", []string{"sh", "-c", script}, os.Environ())
}

// see is what script prints in the view of s.
func see(t *testing.T, way string, s Spec, script string) (string, error) {
	t.Helper()
	spec, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "view", way, string(spec), script)
	if os.Geteuid() != 0 {
		s.UserNS = true
		cmd.SysProcAttr = userNS()
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func userNS() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
}

// needViews skips where this user can't have mount namespaces.
func needViews(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr = userNS()
	}
	if err := cmd.Run(); err != nil {
		t.Skipf("no mount namespaces here: %v", err)
	}
}

// The way of old kernels gives the same view as that of new ones, whether or not
// the folder of its stage is among the hidden.
func TestBothWays(t *testing.T) {
	needViews(t)
	for _, way := range []string{"modern", "classic"} {
		for _, stage := range []string{"state/stage", "outside"} {
			t.Run(way+" "+filepath.Base(stage), func(t *testing.T) {
				// Long, and with what mount options would have to escape.
				root := filepath.Join(t.TempDir(), "a,b:c\\d=e f", strings.Repeat("x", 200), strings.Repeat("y", 200))
				state := filepath.Join(root, "state")
				for _, dir := range []string{"env/lib", "home", "secret", "data", "stage/x"} {
					if err := os.MkdirAll(filepath.Join(state, dir), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				for _, file := range []string{"env/lib/f", "home/f", "secret/f", "data/f", "one"} {
					if err := os.WriteFile(filepath.Join(state, file), []byte(file+"\n"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				got, err := see(t, way, Spec{
					Overlays: []record.Overlay{
						{Target: state + "/env", Lower: state + "/env", Upper: state + "/upper"},
						{Target: state + "/ro", Lower: state + "/data"},
					},
					Hide: []string{state}, Keep: []string{state + "/home", state + "/one"}, Mark: "mark-of-test",
					UserNS: os.Geteuid() != 0, UID: -1, GID: -1, Stage: filepath.Join(root, stage),
				}, `cd '`+state+`'; ls; echo more >> env/lib/f; cat env/lib/f home/f one ro/f; echo x > home/new
					(echo x > ro/f) 2>/dev/null || echo read-only; mkdir x 2>/dev/null || echo read-only; grep -c mark-of-test /proc/self/mountinfo; ls -A ../outside 2>/dev/null; true`)
				want := "env\nhome\none\nro\nenv/lib/f\nmore\nhome/f\none\ndata/f\nread-only\nread-only\n2\n"
				if got != want || err != nil {
					t.Errorf("saw %q, %v, want %q", got, err, want)
				}
				if data, err := os.ReadFile(state + "/env/lib/f"); err != nil || string(data) != "env/lib/f\n" {
					t.Errorf("the base holds %q, %v", data, err)
				}
				if _, err := os.Stat(state + "/home/new"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestInCover(t *testing.T) {
	placed := []piece{{target: "/s", cover: true}, {target: "/s/a"}, {target: "/s/a/b", cover: true}}
	for path, want := range map[string]bool{"/s/x": true, "/s/a/x": false, "/s/a/b/x": true, "/s/ab": true, "/t": false, "/sx": false} {
		if inCover(placed, path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}
