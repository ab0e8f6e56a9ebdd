package unpack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"agentctl/internal/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var made = time.Unix(1_700_000_000, 123_000_000)

// entry is one entry of an archive, or, with raw, bytes in its place.
type entry struct {
	name, body, link string
	kind             byte // 0: by the rest
	mode             int64
	uid, gid         int
	pax              map[string]string
	raw              []byte
}

func (e entry) header() *tar.Header {
	h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Uid: e.uid, Gid: e.gid, Size: int64(len(e.body)), ModTime: made, PAXRecords: e.pax, Format: tar.FormatPAX}
	if e.kind == 0 {
		h.Typeflag = tar.TypeReg
		switch {
		case e.link != "":
			h.Typeflag = tar.TypeSymlink
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
		}
	}
	if e.mode == 0 {
		h.Mode = 0o644
		if h.Typeflag == tar.TypeDir {
			h.Mode = 0o755
		}
	}
	if h.Typeflag != tar.TypeReg {
		h.Size = 0
	}
	return h
}

func file(name, body string) entry          { return entry{name: name, body: body} }
func dirOf(name string) entry               { return entry{name: name + "/"} }
func symlink(name, target string) entry     { return entry{name: name, link: target} }
func hard(name, target string) entry        { return entry{name: name, link: target, kind: tar.TypeLink} }
func special4(name string, kind byte) entry { return entry{name: name, kind: kind, mode: 0o644} }

// raw makes a header that the library would refuse to write, and what follows it.
func raw(name string, kind byte, size, body string) entry {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	copy(b[124:136], size)
	copy(b[136:], "14524770400\x00")
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	return entry{raw: append(checked(b), padded(body)...)}
}

func checked(b []byte) []byte {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func padded(s string) []byte {
	b := []byte(s)
	return append(b, make([]byte, (512-len(b)%512)%512)...)
}

// record is a PAX record.
func record(key, value string) string {
	n := len(key) + len(value) + 3
	for len(fmt.Sprint(n))+len(key)+len(value)+3 != n {
		n = len(fmt.Sprint(n)) + len(key) + len(value) + 3
	}
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

// pax makes a PAX header that the library would refuse to write.
func pax(records string) entry {
	return raw("pax", 'x', fmt.Sprintf("%011o\x00", len(records)), records)
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, e := range entries {
		if e.raw != nil {
			out.Write(e.raw)
			continue
		}
		w := tar.NewWriter(&out)
		if err := w.WriteHeader(e.header()); err != nil {
			t.Fatalf("%q: %v", e.name, err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil && e.body != "" {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	out.Write(make([]byte, 1024))
	return out.Bytes()
}

// options fit the user that runs the tests.
func options() Options {
	return Options{
		Rootless: os.Geteuid() != 0, IDs: 65536,
		Limits: Limits{Bytes: 64 << 20, Entries: 300, Path: 4095, Depth: 100},
	}
}

// describe tells what is in a folder: by path, kind, mode, content, marks and xattrs.
func describe(t testing.TB, top string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	err := tree.Walk(top, func(n tree.Node) error {
		path := filepath.Join(top, n.Rel)
		mode := n.Info.Mode()
		var text string
		switch {
		case mode.IsDir():
			text = fmt.Sprintf("dir %o", perm(mode))
		case mode.IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = fmt.Sprintf("file %o %s", perm(mode), short(string(data)))
		case mode&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text = "link " + short(target)
		case mode&fs.ModeNamedPipe != 0:
			text = fmt.Sprintf("fifo %o", perm(mode))
		case mode&fs.ModeCharDevice != 0 && n.Info.Sys().(*syscall.Stat_t).Rdev == 0:
			text = "whiteout"
		default:
			text = mode.String()
		}
		seen[n.Rel] = text + xattrs(t, path)
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%d bytes", len(s))
	}
	return s
}

func perm(m fs.FileMode) uint32 {
	p := uint32(m.Perm())
	for bit, as := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			p |= as
		}
	}
	return p
}

func xattrs(t testing.TB, path string) string {
	names := make([]byte, 4096)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		value := make([]byte, 4096)
		if n, err := unix.Lgetxattr(path, name, value); err == nil && name != "" {
			found = append(found, fmt.Sprintf(" %s=%q", strings.Replace(name, "user.overlay.opaque", "trusted.overlay.opaque", 1), value[:n]))
		}
	}
	slices.Sort(found)
	return strings.Join(found, "")
}

// canary is a folder beside the layer's, and all that can be seen of it.
type canary struct{ dir, was string }

func plantCanary(t testing.TB, dir string) canary {
	t.Helper()
	c := canary{dir: filepath.Join(dir, "outside")}
	for _, err := range []error{
		os.MkdirAll(filepath.Join(c.dir, "etc", "deep"), 0o755), os.WriteFile(filepath.Join(c.dir, "etc", "passwd"), []byte("root"), 0o600),
		os.WriteFile(filepath.Join(c.dir, "f"), []byte("canary"), 0o644), os.Symlink("f", filepath.Join(c.dir, "l")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.was = c.state(t)
	return c
}

func (c canary) state(t testing.TB) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		data := ""
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data = string(b)
		}
		fmt.Fprintln(&out, path, info.Mode(), info.Size(), st.Ino, st.Nlink, st.Uid, st.Gid, st.Mtim, st.Ctim, data, xattrs(t, path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (c canary) check(t testing.TB) {
	t.Helper()
	if now := c.state(t); now != c.was {
		t.Errorf("outside of the layer something changed:\n%s\nwas\n%s", now, c.was)
	}
}
