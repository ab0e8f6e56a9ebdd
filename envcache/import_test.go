package envcache

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"agentctl/envcache/internal/relocate"
)

// takes tells what an import into an empty state says of an archive, of which
// nothing may stay if it fails.
func takes(t *testing.T, archive []byte, opts ImportOptions) error {
	t.Helper()
	c := newCache(t, Options{})
	l, err := c.Import(t.Context(), bytes.NewReader(archive), opts, nil)
	if err == nil {
		return l.Close()
	}
	if bad := litter(t, c.state); bad != nil {
		t.Errorf("left over after %v: %v", err, bad)
	}
	if entries, lerr := c.Entries(); lerr != nil || len(entries) != 0 {
		t.Errorf("after %v: %+v, %v", err, entries, lerr)
	}
	return err
}

// repacked is an archive whose environment was built as change makes its request.
func repacked(t *testing.T, archive []byte, change func(a *archiveReader, files map[string]string)) []byte {
	t.Helper()
	a, err := openArchive(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	f := forged{files: map[string]string{}}
	for range a.ToolFiles {
		if _, err := a.tar.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for _, it := range a.manifest {
		size, err := a.next(it.entryName(), kinds[it.kind])
		if err != nil {
			t.Fatal(err)
		}
		data, err := a.take(size, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		f.files[it.path] = string(data)
	}
	a.Tool, a.ToolFiles = "", 0
	change(a, f.files)
	f.pass, f.items = a.passport, a.manifest
	return squeeze(t, f.tar(t))
}

func TestAnImportThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "one")
	archive := export(t, c, acquire(t, c, req.with("one==1.0")).Key)
	same := ImportOptions{UID: SameUser, GID: SameUser}
	if err := takes(t, repacked(t, archive, func(*archiveReader, map[string]string) {}), same); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*archiveReader, map[string]string){
		"Python 3.4":                 func(a *archiveReader, _ map[string]string) { a.Needs.Version = "3.4.9" },
		"the platform linux-m68k":    func(a *archiveReader, _ map[string]string) { a.Needs.Platform = "linux-m68k" },
		"glibc 99.1 or newer, here ": func(a *archiveReader, _ map[string]string) { a.Needs.Libc = "glibc 99.1" },
		"not here numpy-1.0":         func(a *archiveReader, _ map[string]string) { a.System = []string{"numpy-1.0"} },
		"bytes, and": func(a *archiveReader, _ map[string]string) {
			a.manifest = append(a.manifest, item{kind: 'f', path: "big", size: 1 << 60, digest: strings.Repeat("a", 64)})
		},
	} {
		if err := takes(t, repacked(t, archive, change), same); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := takes(t, archive, ImportOptions{Python: "2.7", UID: SameUser, GID: SameUser}); err == nil {
		t.Error("taken for Python 2.7")
	}
	// Damage after the files began, so that some of them are laid out already.
	if err := takes(t, archive[:len(archive)-len(archive)/50], same); err == nil {
		t.Error("taken though its end is missing")
	}
}

// What the environment holds of its place in a program that nobody knows fails
// the import and is named.
func TestAnImportRefusesWhatCantMove(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "one")
	first := acquire(t, c, req.with("one==1.0"))
	archive := repacked(t, export(t, c, first.Key), func(a *archiveReader, files map[string]string) {
		bad := file("lib/one.so", "\x00"+first.Path)
		files[bad.path] = "\x00" + first.Path
		a.manifest = append(a.manifest, bad)
	})
	err := takes(t, archive, ImportOptions{UID: SameUser, GID: SameUser})
	var fixed *relocate.FixedError
	if !errors.As(err, &fixed) || !slices.Equal(fixed.Files, []string{"lib/one.so"}) {
		t.Fatalf("err = %v", err)
	}
}

// An environment is imported for other users than those it was built for.
func TestAnImportForAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can build for other users")
	}
	c, req := indexed(t, "one")
	archive := export(t, c, acquire(t, c, req.with("one==1.0")).Key)
	for _, uid := range []int{65534, 1} {
		req.Python, req.UID, req.GID = hostPython(t, uid), uid, uid
		to := newCache(t, Options{})
		l := imported(t, to, archive, req.with("one==1.0"), ImportOptions{UID: uid, GID: uid})
		err := filepath.WalkDir(l.Path, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != uid {
				t.Errorf("%s belongs to %d", path, info.Sys().(*syscall.Stat_t).Uid)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		exit, err := HostExec{}.Run(t.Context(), Cmd{Args: []string{filepath.Join(l.Path, "bin", "one")}, Dir: "/", UID: uid, GID: uid, Stdout: &out, Stderr: &out})
		if err != nil || exit.Code != 0 || out.String() != "one 1.0\n" {
			t.Fatalf("%+v, %v: %s", exit, err, out.String())
		}
	}
}

// What was changed since it was built is not passed on.
func TestAChangedEnvironmentIsNotExported(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "one")
	l := acquire(t, c, req.with("one==1.0"))
	for name, text := range map[string]string{"bin/activate": "evil", "pyvenv.cfg": strings.Repeat("x", 1000)} {
		path := filepath.Join(l.Path, name)
		was, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		var changed *Changed
		if _, err := c.Export(t.Context(), l.Key, &b); !errors.As(err, &changed) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := openCache(t, newState(t), nil).Import(t.Context(), &b, ImportOptions{UID: SameUser, GID: SameUser}, nil); err == nil {
			t.Errorf("%s: what was written of it was imported", name)
		}
		if err := os.WriteFile(path, was, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"", "zz", strings.Repeat("0", 32)} {
		if _, err := c.Export(t.Context(), key, &bytes.Buffer{}); err == nil {
			t.Errorf("%q was exported", key)
		}
	}
}

// An agent is killed while it imports: the next one finds nothing of it.
func TestKilledWhileImporting(t *testing.T) {
	t.Parallel()
	bin := crashing(t)
	c, req := indexed(t, "one")
	req = req.with("one==1.0")
	file := filepath.Join(newState(t), "archive")
	if err := os.WriteFile(file, export(t, c, acquire(t, c, req).Key), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, point := range []string{"import.unpacked", "import.moved", "env.manifest", "env.synced", "env.published"} {
		state := newState(t)
		withTools(t, state)
		cmd := agent(t, bin, order{State: state, Request: req, Import: file}, "AGENTCTL_CRASH_AT="+point)
		out, err := cmd.CombinedOutput()
		var failed *exec.ExitError
		if !errors.As(err, &failed) || failed.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s: the agent was not killed: %v\n%s", point, err, out)
		}
		next := openCache(t, state, nil)
		if bad := litter(t, state); bad != nil {
			t.Fatalf("%s: left over: %v", point, bad)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		imported(t, next, data, req, ImportOptions{UID: SameUser, GID: SameUser})
	}
}
