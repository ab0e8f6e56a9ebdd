package envcache

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAnArchiveIsLaidOut(t *testing.T) {
	f := forge()
	top, m, err := layOut(t, openArchive, squeeze(t, f.tar(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.compare(t.Context(), top, true); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(top, "lib", "x")); err != nil || info.ModTime().UnixNano() != f.items[6].mtime {
		t.Fatalf("%v, %v", info, err)
	}
}

func TestHostileArchivesAreRefused(t *testing.T) {
	add := func(its ...item) func(*forged) {
		return func(f *forged) { f.items = append(f.items, its...) }
	}
	only := func(name string, change func(*tar.Header)) func(*forged) {
		return func(f *forged) {
			f.turn = func(h *tar.Header) {
				if h.Name == name {
					change(h)
				}
			}
		}
	}
	odd := func(change func(*item)) func(*forged) {
		return func(f *forged) {
			it := file("odd", "")
			change(&it)
			f.items = append(f.items, it)
		}
	}
	for name, spoil := range map[string]func(*forged){
		"way up":               add(file("../canary", "")),
		"absolute":             add(file("/canary", "")),
		"way up inside":        add(folder("lib/a"), file("lib/a/../../../canary", "")),
		"not clean":            add(file("lib//y", "")),
		"NUL":                  add(file("lib/\x00", "")),
		"empty name":           add(file("", "")),
		"through a link":       add(file("in/x", "")),
		"through a link up":    add(link("up", ".."), file("up/canary", "")),
		"through a file":       add(file("lib/x/y", "")),
		"no parent":            add(file("none/x", "")),
		"twice":                add(file("lib/x", "xx")),
		"twice as a folder":    add(folder("lib/x")),
		"the top again":        add(folder(".")),
		"too deep":             add(deep()...),
		"device":               add(item{kind: 'x', path: "device"}),
		"setuid":               odd(func(it *item) { it.mode = 0o4755 }),
		"no digest":            odd(func(it *item) { it.digest = "" }),
		"negative size":        odd(func(it *item) { it.size = -1 }),
		"no target":            add(link("nowhere", "")),
		"NUL in a target":      add(link("nul", "a\x00b")),
		"long target":          add(link("long", strings.Repeat("x", 5000))),
		"a folder with a size": add(item{kind: 'd', path: "fat", mode: 0o755, size: 1}),
		"too large":            add(item{kind: 'f', path: "a", size: 1 << 62, digest: strings.Repeat("a", 64)}, item{kind: 'f', path: "b", size: 1 << 62, digest: strings.Repeat("a", 64)}),
		"no top":               func(f *forged) { f.items = f.items[1:] },
		"nothing":              func(f *forged) { f.items = nil },
		"other content":        func(f *forged) { f.files["lib/x"] = "xy" },
		"shorter content":      func(f *forged) { f.files["lib/x"] = "x" },
		"longer content":       func(f *forged) { f.files["lib/x"] = "xxx" },
		"hard link":            only("files/lib/x", func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeLink, "../../canary", 0 }),
		"symbolic link":        only("files/lib/x", func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "../../canary", 0 }),
		"block device":         only("files/lib/x", func(h *tar.Header) { h.Typeflag, h.Size = tar.TypeBlock, 0 }),
		"FIFO":                 only("files/lib/x", func(h *tar.Header) { h.Typeflag, h.Size = tar.TypeFifo, 0 }),
		"another name":         only("files/lib/x", func(h *tar.Header) { h.Name = "files/lib/y" }),
		"name that leads out":  only("files/lib/x", func(h *tar.Header) { h.Name = "files/../canary" }),
		"one more": func(f *forged) {
			f.after = func(w *tar.Writer) { _ = w.WriteHeader(&tar.Header{Name: "files/z", Typeflag: tar.TypeReg}) }
		},
		"manifest of another": func(f *forged) {
			f.text = func(m []byte) []byte { return bytes.Replace(m, []byte("end"), []byte("END"), 1) }
		},
		"manifest without an end": func(f *forged) { f.text = func(m []byte) []byte { return m[:len(m)-8] } },
		"newer format":            func(f *forged) { f.pass.Format++ },
		"other rules":             func(f *forged) { f.pass.Record.Parts = nil },
		"no key":                  func(f *forged) { f.pass.Key = "../../etc" },
		"no place":                func(f *forged) { f.pass.Path = "/etc" },
		"relative place":          func(f *forged) { f.pass.Path = "envs/" + forgedKey },
		"a pip without files":     func(f *forged) { f.pass.Tool = "pip-1" },
		"files without a pip":     func(f *forged) { f.pass.ToolFiles = 1 },
		"many files of a pip":     func(f *forged) { f.pass.Tool, f.pass.ToolFiles = "pip-1", 1<<30 },
	} {
		t.Run(name, func(t *testing.T) {
			f := forge()
			spoil(&f)
			if top, _, err := layOut(t, readArchive, f.tar(t)); err == nil {
				t.Fatalf("taken: %v", speaksOf(t, top, ""))
			}
		})
	}
	whole := squeeze(t, forge().tar(t))
	for _, data := range [][]byte{nil, []byte("no archive"), whole[:len(whole)/2], whole[:len(whole)-1], forge().tar(t), append(slices.Clone(whole), squeeze(t, make([]byte, mostPassport))...)} {
		if _, _, err := layOut(t, openArchive, data); err == nil {
			t.Errorf("%.40q was taken", data)
		}
	}
}

func deep() (its []item) {
	name := "d"
	for range deepestItem + 2 {
		its = append(its, folder(name))
		name += "/d"
	}
	return its
}

// Whatever stands in an archive: it is refused, or what is laid out is what its
// manifest says; nothing else is touched.
func FuzzArchive(f *testing.F) {
	f.Add(forge().tar(f), uint16(0), byte(0))
	out := forge()
	out.items = append(out.items, link("up", ".."), file("up/canary", ""))
	f.Add(out.tar(f), uint16(1100), byte('x'))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, change byte) {
		if int(at) < len(data) && change != 0 {
			data = slices.Clone(data)
			data[at] ^= change
		}
		top, m, err := layOut(t, readArchive, data)
		if err != nil {
			return
		}
		if err := m.compare(t.Context(), top, true); err != nil {
			t.Fatal(err)
		}
	})
}

// The pip of an archive is taken only if it is the one that was released.
func TestAForeignPipIsRefused(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"tool/pip/__init__.py": false, "tool/../pip": false, "files/": false, "tool/": false} {
		f := forge()
		f.pass.Tool, f.pass.ToolFiles = "pip-"+pipVersion, 1
		a, err := openArchive(bytes.NewReader(squeeze(t, f.withTool(t, name))))
		if err != nil {
			t.Fatal(err)
		}
		tools := &pipTools{dir: filepath.Join(newState(t), "tools"), now: time.Now}
		err = a.takeTool(t.Context(), tools)
		a.close()
		if _, serr := os.Stat(filepath.Join(tools.dir, f.pass.Tool)); (err == nil) != want || !errors.Is(serr, fs.ErrNotExist) {
			t.Errorf("%s: %v, %v", name, err, serr)
		}
	}
}

func (f forged) withTool(t testing.TB, name string) []byte {
	f.items = manifest{folder(".")}
	f.turn = func(h *tar.Header) {
		if h.Name == filesFolder {
			h.Name, h.Typeflag = name, tar.TypeReg
		}
	}
	return f.tar(t)
}

func TestWhatAHostLacksIsNamed(t *testing.T) {
	n := needs{Implementation: "cpython", Version: "3.11.7", ABI: "cpython-311-x86_64-linux-gnu", Platform: "linux-x86_64", Libc: "glibc 2.36"}
	same := Interpreter{Implementation: "cpython", Version: "3.11.2", ABI: "cpython-311-x86_64-linux-gnu", Platform: "linux-x86_64", Libc: "glibc 2.40"}
	if lacks := n.unmet(same); lacks != nil {
		t.Errorf("unmet: %q", lacks)
	}
	other := Interpreter{Implementation: "pypy", Version: "3.12.1", ABI: "", Platform: "linux-aarch64", Libc: "glibc 2.9"}
	want := []string{
		"the implementation cpython, here pypy", "Python 3.11, here 3.12", "the ABI cpython-311-x86_64-linux-gnu, here none",
		"the platform linux-x86_64, here linux-aarch64", "glibc 2.36 or newer, here glibc 2.9",
	}
	if lacks := n.unmet(other); !slices.Equal(lacks, want) {
		t.Errorf("%q, want %q", lacks, want)
	}
	for _, libc := range []string{"musl", "glibc", "unknown libc", ""} {
		if newEnough("glibc 2.36", libc) || !newEnough(libc, libc) {
			t.Errorf("%q", libc)
		}
	}
}
