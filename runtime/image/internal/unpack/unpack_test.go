package unpack

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"agentctl/internal/tree"
)

// usual is a layer with all that usual layers have.
func usual() []entry {
	long := strings.Repeat("long/", 40) + strings.Repeat("n", 200)
	return []entry{
		{name: "./", mode: 0o755}, dirOf("bin"), {name: "bin/sh", body: "#!", mode: 0o755}, hard("bin/ash", "bin/sh"), symlink("bin/bash", "sh"),
		{name: "tmp/", mode: 0o1777}, {name: "bin/su", body: "su", mode: 0o4755}, file(long, "deep"), file("usr/share/implied", "x"),
		{name: "etc/", mode: 0o700}, file("etc/.wh.gone", ""), file("etc/.wh.gone2", ""), dirOf("opaque"), file("opaque/.wh..wh..opq", ""), file("opaque/new", "n"),
		{name: "x", body: "x", pax: map[string]string{"SCHILY.xattr.user.a": "1\x00\xff", "SCHILY.xattr.user.b": "2"}}, file("empty", ""),
		file("large", string(bytes.Repeat([]byte("0123456789abcdef"), 100_000))),
	}
}

func TestUnpack(t *testing.T) {
	top := t.TempDir()
	data := archive(t, usual()...)
	res, err := Unpack(t.Context(), top, bytes.NewReader(data), options())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		".": "dir 755", "bin": "dir 755", "bin/sh": "file 755 #!", "bin/ash": "file 755 #!", "bin/bash": "link sh", "tmp": "dir 1777", "bin/su": "file 4755 su",
		"usr": "dir 755", "usr/share": "dir 755", "usr/share/implied": "file 644 x", "etc": "dir 700", "etc/gone": "whiteout", "etc/gone2": "whiteout",
		"opaque": `dir 755 trusted.overlay.opaque="y"`, "opaque/new": "file 644 n", "x": `file 644 x user.a="1\x00\xff" user.b="2"`, "empty": "file 644 ", "large": "file 644 1600000 bytes",
	}
	long := strings.Repeat("long/", 40)
	for up := strings.TrimSuffix(long, "/"); up != "."; up = filepath.Dir(up) {
		want[up] = "dir 755"
	}
	want[long+strings.Repeat("n", 200)] = "file 644 deep"
	if got := describe(t, top); !maps.Equal(got, want) {
		t.Errorf("it is\n%q\nwant\n%q", got, want)
	}
	if res.Stream != int64(len(data)) || res.Entries < 18 {
		t.Errorf("%+v of %d bytes", res, len(data))
	}
	a, b := stat(t, top, "bin/sh"), stat(t, top, "bin/ash")
	if a.Ino != b.Ino || a.Mtim.Sec != made.Unix() || a.Mtim.Nsec != 123_000_000 {
		t.Errorf("%+v and %+v", a, b)
	}
	if d := stat(t, top, "opaque"); d.Mtim.Sec != made.Unix() {
		t.Errorf("the folder has the time %d", d.Mtim.Sec)
	}
}

func stat(t *testing.T, top, rel string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(filepath.Join(top, rel))
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t)
}

func TestOwnersAreShifted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	cap2 := binary.LittleEndian.AppendUint32(nil, 0x02000001)
	cap2 = append(cap2, make([]byte, 16)...)
	cap2[4] = 0x80
	entries := []entry{
		{name: "d/", uid: 1, gid: 2}, {name: "d/f", body: "x", uid: 3, gid: 4, mode: 0o6755}, {name: "l", link: "d", uid: 5, gid: 6}, {name: "p", kind: tar.TypeFifo, uid: 7, gid: 8},
		file("e/root", "x"), {name: "ping", body: "x", uid: 9, pax: map[string]string{"SCHILY.xattr.security.capability": string(cap2)}},
	}
	for _, shift := range []int{0, 100_000} {
		top := t.TempDir()
		o := options()
		o.Shift = shift
		if _, err := Unpack(t.Context(), top, bytes.NewReader(archive(t, entries...)), o); err != nil {
			t.Fatal(err)
		}
		for rel, want := range map[string][2]int{".": {}, "d": {1, 2}, "d/f": {3, 4}, "l": {5, 6}, "p": {7, 8}, "e": {}, "e/root": {}} {
			if st := stat(t, top, rel); int(st.Uid) != want[0]+shift || int(st.Gid) != want[1]+shift {
				t.Errorf("%s belongs to %d:%d", rel, st.Uid, st.Gid)
			}
		}
		if st := stat(t, top, "d/f"); st.Mode&0o7777 != 0o6755 {
			t.Errorf("mode %o", st.Mode)
		}
		value := make([]byte, 64)
		n, err := unix.Getxattr(filepath.Join(top, "ping"), "security.capability", value)
		// The kernel shows capabilities of another root as they are.
		if err != nil || (n == 24) != (shift > 0) || value[4] != 0x80 || shift > 0 && binary.LittleEndian.Uint32(value[20:]) != uint32(shift) {
			t.Errorf("capabilities %x, %v", value[:max(n, 0)], err)
		}
	}
}

// What was unpacked is put together again, byte by byte, whatever it was.
func TestRecipe(t *testing.T) {
	layers := map[string][]entry{"usual": usual(), "empty": nil}
	var many []entry
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		body := make([]byte, rnd.IntN(3000))
		many = append(many, file(fmt.Sprintf("d%d/f%d", i%7, i), string(body)))
	}
	layers["many"] = many
	for _, h := range corpus {
		if h.err == "" && h.data == nil && !strings.Contains(h.name, "CANARY") {
			layers[h.name] = h.entries
		}
	}
	for name, entries := range layers {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			t.Cleanup(func() { _ = os.Chmod(filepath.Join(top, "d"), 0o700) })
			data := archive(t, entries...)
			var recipe, again bytes.Buffer
			o := options()
			o.Recipe = &recipe
			res, err := Unpack(t.Context(), top, bytes.NewReader(data), o)
			if err != nil || res.Lost != twice(entries) {
				t.Fatalf("%+v, %v", res, err)
			}
			if res.Lost {
				return
			}
			if err := Pack(t.Context(), &again, top, &recipe); err != nil || !bytes.Equal(again.Bytes(), data) {
				t.Errorf("%d bytes became %d, %v", len(data), again.Len(), err)
			}
		})
	}
}

// twice tells that a layer holds bytes that something else in it replaces.
func twice(entries []entry) bool {
	with := map[string]bool{}
	for _, e := range entries {
		name := strings.Trim(e.name, "/")
		for was := range with {
			under := strings.HasPrefix(was, name+"/") && e.kind+e.header().Typeflag != 0 && e.header().Typeflag != tar.TypeDir
			if was == name || under {
				return true
			}
		}
		if t := e.header().Typeflag; e.raw == nil && (t == tar.TypeReg || t == tar.TypeLink || t == tar.TypeFifo) && !strings.HasPrefix(filepath.Base(name), ".wh.") {
			with[name] = true
		}
	}
	return false
}

func TestWithoutOpenat2(t *testing.T) {
	base := t.TempDir()
	c := plantCanary(t, base)
	if err := os.MkdirAll(filepath.Join(base, "layer", "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../outside", filepath.Join(base, "layer", "l")); err != nil {
		t.Fatal(err)
	}
	top, err := os.Open(filepath.Join(base, "layer"))
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	for name, open := range map[string]func(int, string, int) (int, error){"openat2": openDir, "step by step": stepwise} {
		for rel, ok := range map[string]bool{".": true, "a": true, "a/b": true, "l": false, "l/etc": false, "none": false} {
			fd, err := open(int(top.Fd()), rel, unix.O_RDONLY|unix.O_DIRECTORY)
			if (err == nil) != ok {
				t.Errorf("%s: %s: %v", name, rel, err)
			}
			if err == nil {
				_ = unix.Close(fd)
			}
		}
	}
	c.check(t)
}

// Whatever the bytes: nothing outside is touched, nothing hangs, nothing panics.
func FuzzUnpack(f *testing.F) {
	for _, h := range corpus {
		if h.data == nil {
			f.Add(archive(f, h.entries...))
		}
	}
	f.Add(archive(f, usual()...))
	f.Fuzz(func(t *testing.T, data []byte) {
		base := t.TempDir()
		c := plantCanary(t, base)
		top := filepath.Join(base, "layer")
		if err := os.Mkdir(top, 0o700); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tree.Remove(top) }() // folders without rights, too
		o := options()
		o.Limits = Limits{Bytes: 1 << 20, Entries: 50, Path: 300, Depth: 20}
		var recipe, again bytes.Buffer
		o.Recipe = &recipe
		res, err := Unpack(t.Context(), top, bytes.NewReader(data), o)
		c.check(t)
		if err != nil || res.Lost {
			return
		}
		if err := Pack(t.Context(), &again, top, &recipe); !bytes.Equal(again.Bytes(), data) && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%d bytes became %d, %v", len(data), again.Len(), err)
		}
	})
}
