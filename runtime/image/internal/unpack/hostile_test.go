package unpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hostile is a layer that somebody made to do harm, or by mistake. It fails with the
// words of err, or gives what want tells, with a top of mode 755.
type hostile struct {
	name    string
	entries []entry
	data    func(t testing.TB) []byte // in place of entries
	err     string
	want    map[string]string
	dropped int
	opaque  bool
}

const out = "../outside/f"

// corpus are the layers; CANARY in a name or a link is the canary's absolute path.
var corpus = []hostile{
	// Names that lead out.
	{name: "parent", entries: []entry{file(out, "x")}, err: "leads out of the layer"},
	{name: "parent after a folder", entries: []entry{dirOf("a"), file("a/../../outside/f", "x")}, err: "leads out of the layer"},
	{name: "parent alone", entries: []entry{dirOf("..")}, err: "leads out of the layer"},
	{name: "parents within", entries: []entry{file("a/b/../../c", "x")}, want: map[string]string{"c": "file 644 x"}},
	{name: "absolute", entries: []entry{file("CANARY/f", "x")}, want: map[string]string{"CANARY": "dir 755", "CANARY/f": "file 644 x"}},
	{name: "absolute with parents", entries: []entry{file("/../../../../etc/passwd", "x")}, err: "leads out of the layer"},
	{name: "many slashes", entries: []entry{file("//a///b", "x")}, want: map[string]string{"a": "dir 755", "a/b": "file 644 x"}},
	{name: "dots", entries: []entry{file("././a/./b", "x")}, want: map[string]string{"a": "dir 755", "a/b": "file 644 x"}},
	{name: "three dots are a name", entries: []entry{file("...", "x")}, want: map[string]string{"...": "file 644 x"}},
	{name: "no name", entries: []entry{raw("", '0', "00000000001\x00", "x")}, err: "the top of a layer must be a folder"},

	// The top.
	{name: "top as a link", entries: []entry{symlink(".", "../outside"), file("f", "x")}, err: "the top of a layer must be a folder"},
	{name: "slash as a link", entries: []entry{symlink("/", "CANARY"), file("f", "x")}, err: "the top of a layer must be a folder"},
	{name: "top as a file", entries: []entry{file(".", "x")}, err: "the top of a layer must be a folder"},
	{name: "top as a hard link", entries: []entry{file("f", "x"), hard(".", "f")}, err: "the top of a layer must be a folder"},
	{name: "top by detours", entries: []entry{symlink("a/..", "../outside")}, err: "the top of a layer must be a folder"},
	{name: "top with a mode", entries: []entry{{name: "./", mode: 0o700}}, want: map[string]string{".": "dir 700"}},
	{name: "top removed", entries: []entry{file(".wh..", "")}, err: "names nothing"},

	// Links on the way.
	{name: "through a link out", entries: []entry{symlink("l", "../outside"), file("l/f", "x")}, want: map[string]string{"l": "link ../outside", "outside": "dir 755", "outside/f": "file 644 x"}},
	{name: "through an absolute link", entries: []entry{symlink("l", "CANARY"), file("l/f", "x")}, want: map[string]string{"l": "link CANARY", "CANARY": "dir 755", "CANARY/f": "file 644 x"}},
	{name: "through chained links", entries: []entry{symlink("a", "b"), symlink("b", "c"), symlink("c", "../../../outside"), file("a/f", "x")}, want: map[string]string{"a": "link b", "b": "link c", "c": "link ../../../outside", "outside": "dir 755", "outside/f": "file 644 x"}},
	{name: "through a link to the top", entries: []entry{symlink("l", "/"), file("l/l/l/f", "x")}, want: map[string]string{"l": "link /", "f": "file 644 x"}},
	{name: "through a loop", entries: []entry{symlink("a", "b"), symlink("b", "a"), file("a/f", "x")}, err: "too many links"},
	{name: "through itself", entries: []entry{symlink("a", "a"), file("a/f", "x")}, err: "too many links"},
	{name: "through a bomb of links", entries: bomb(), err: "too many links"},
	{name: "through a link into a file", entries: []entry{file("f", "x"), symlink("l", "f"), file("l/g", "x")}, err: `"f" is no folder`},
	{name: "through a link with an odd target", entries: []entry{symlink("l", ".wh.x/y"), file("l/f", "x")}, err: "can't be a folder"},
	{name: "folder through a link", entries: []entry{symlink("l", "../outside/etc"), {name: "l/deep/", mode: 0o777}}, want: map[string]string{"l": "link ../outside/etc", "outside": "dir 755", "outside/etc": "dir 755", "outside/etc/deep": "dir 777"}},
	{name: "link over a folder with files", entries: []entry{file("d/f", "x"), symlink("d", "../outside"), file("d/f", "y")}, want: map[string]string{"d": "link ../outside", "outside": "dir 755", "outside/f": "file 644 y"}},
	{name: "folder over a link", entries: []entry{symlink("d", "../outside"), dirOf("d"), file("d/f", "x")}, want: map[string]string{"d": "dir 755", "d/f": "file 644 x"}},
	{name: "file over a link", entries: []entry{symlink("f", out), file("f", "x")}, want: map[string]string{"f": "file 644 x"}},
	{name: "link to a process's files", entries: []entry{symlink("p", "/proc/self/root"), file("p/x", "x")}, want: map[string]string{"p": "link /proc/self/root", "proc": "dir 755", "proc/self": "dir 755", "proc/self/root": "dir 755", "proc/self/root/x": "file 644 x"}},
	{name: "link without a target", entries: []entry{raw("l", '2', "00000000000\x00", "")}, err: "leads nowhere"},

	// Hard links.
	{name: "hard link out", entries: []entry{hard("h", out)}, err: "leads out of the layer"},
	{name: "hard link to an absolute path", entries: []entry{hard("h", "CANARY/f")}, err: "no file of this layer"},
	{name: "hard link through a link", entries: []entry{symlink("l", "../outside"), hard("h", "l/f")}, err: "no file of this layer"},
	{name: "hard link to a link", entries: []entry{symlink("l", out), hard("h", "l"), file("h/x", "x")}, want: map[string]string{"l": "link ../outside/f", "h": "link ../outside/f", "outside": "dir 755", "outside/f": "dir 755", "outside/f/x": "file 644 x"}},
	{name: "hard link to a folder", entries: []entry{dirOf("d"), hard("h", "d")}, err: "no file of this layer"},
	{name: "hard link to the top", entries: []entry{hard("h", "/")}, err: "no file of this layer"},
	{name: "hard link to itself", entries: []entry{file("f", "x"), hard("f", "f")}, err: "no file of this layer"},
	{name: "hard link to what it replaces", entries: []entry{file("d/f", "x"), hard("d", "d/f")}, err: "no file of this layer"},
	{name: "hard link to what comes later", entries: []entry{hard("h", "f"), file("f", "x")}, err: "no file of this layer"},
	{name: "hard link written over", entries: []entry{file("f", "x"), hard("h", "f"), file("h", "y")}, want: map[string]string{"f": "file 644 x", "h": "file 644 y"}},

	// Marks of what is removed.
	{name: "mark through a link", entries: []entry{symlink("l", "../outside"), file("l/.wh.f", "")}, want: map[string]string{"l": "link ../outside", "outside": "dir 755", "outside/f": "whiteout"}},
	{name: "mark of a parent", entries: []entry{file("a/.wh...", "")}, err: "names nothing"},
	{name: "mark of nothing", entries: []entry{file("a/.wh.", "")}, err: "names nothing"},
	{name: "mark as a folder", entries: []entry{file(".wh.a/b", "x")}, err: "can't be a folder"},
	{name: "mark of what the layer has", entries: []entry{file("a", "x"), file(".wh.a", "")}, want: map[string]string{"a": "file 644 x"}},
	{name: "mark of a folder that the layer has", entries: []entry{file(".wh.d", ""), file("d/f", "x")}, want: map[string]string{"d": `dir 755 trusted.overlay.opaque="y"`, "d/f": "file 644 x"}},
	{name: "mark with bytes", entries: []entry{file(".wh.a", "bytes")}, want: map[string]string{"a": "whiteout"}},
	{name: "opaque where nothing is", entries: []entry{file("a/b/.wh..wh..opq", "")}, want: map[string]string{"a": "dir 755", "a/b": `dir 755 trusted.overlay.opaque="y"`}},
	{name: "opaque top", entries: []entry{file(".wh..wh..opq", "")}, opaque: true, want: map[string]string{".": `dir 755 trusted.overlay.opaque="y"`}},
	{name: "opaque through a link", entries: []entry{symlink("l", "../outside"), file("l/.wh..wh..opq", "")}, want: map[string]string{"l": "link ../outside", "outside": `dir 755 trusted.overlay.opaque="y"`}},
	{name: "opaque as a folder", entries: []entry{file(".wh..wh..opq/f", "x")}, err: "can't be a folder"},
	{name: "marks of aufs", entries: []entry{dirOf(".wh..wh.plnk"), file(".wh..wh.aufs", "")}, want: map[string]string{}},
	{name: "overlay's mark smuggled in", entries: []entry{special4("etc/passwd", tar.TypeChar)}, dropped: 1, want: map[string]string{"etc": "dir 755"}},
	{name: "overlay's xattrs smuggled in", entries: []entry{{name: "d/", pax: map[string]string{
		"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.user.overlay.redirect": "/etc", "SCHILY.xattr.trusted.overlay.redirect": "/etc"}}}, want: map[string]string{"d": "dir 755"}},

	// What files are.
	{name: "devices", entries: []entry{special4("sda", tar.TypeBlock), special4("mem", tar.TypeChar)}, dropped: 2, want: map[string]string{}},
	{name: "device over a file", entries: []entry{file("f", "x"), special4("f", tar.TypeBlock)}, dropped: 1, want: map[string]string{}},
	{name: "file in a device", entries: []entry{special4("d", tar.TypeBlock), file("d/f", "x")}, dropped: 1, want: map[string]string{"d": "dir 755", "d/f": "file 644 x"}},
	{name: "FIFO", entries: []entry{{name: "p", kind: tar.TypeFifo, mode: 0o4622}}, want: map[string]string{"p": "fifo 4622"}},
	{name: "file into a FIFO", entries: []entry{special4("p", tar.TypeFifo), file("p", "x")}, want: map[string]string{"p": "file 644 x"}},
	{name: "setuid", entries: []entry{{name: "su", body: "x", mode: 0o4755}, {name: "sg/", mode: 0o2775}}, want: map[string]string{"su": "file 4755 x", "sg": "dir 2775"}},
	{name: "capabilities that are none", entries: []entry{{name: "f", body: "x", pax: map[string]string{"SCHILY.xattr.security.capability": "garbage"}}}, want: map[string]string{"f": "file 644 x"}},
	{name: "other xattrs", entries: []entry{{name: "f", body: "x", pax: map[string]string{"SCHILY.xattr.security.selinux": "x", "SCHILY.xattr.system.posix_acl_access": "x", "SCHILY.xattr.user.kept": "v"}}}, want: map[string]string{"f": `file 644 x user.kept="v"`}},
	{name: "mode of more bits", entries: []entry{{name: "f", body: "x", mode: 0o7777777}}, want: map[string]string{"f": "file 7777 x"}},
	{name: "user of no range", entries: []entry{{name: "f", body: "x", uid: 65536}}, err: "belongs to user 65536"},
	{name: "group of no range", entries: []entry{{name: "d/", gid: 1 << 40}}, err: "belongs to group"},
	{name: "user of a link", entries: []entry{{name: "l", link: "x", uid: 1 << 31}}, err: "belongs to user"},
	{name: "negative user", entries: []entry{pax(record("uid", "-1")), raw("f", '0', "00000000001\x00", "x")}, err: "belongs to user -1"},
	{name: "folder over a file", entries: []entry{file("a", "x"), dirOf("a"), file("a/b", "y")}, want: map[string]string{"a": "dir 755", "a/b": "file 644 y"}},
	{name: "file over a folder", entries: []entry{file("a/b/c", "x"), file("a", "y")}, want: map[string]string{"a": "file 644 y"}},
	{name: "file in a file", entries: []entry{file("a", "x"), file("a/b", "y")}, err: `"a" is no folder`},
	{name: "file twice", entries: []entry{file("a", "first and long"), file("a", "last")}, want: map[string]string{"a": "file 644 last"}},
	{name: "folder without rights", entries: []entry{{name: "d/", mode: 0o1}, file("d/f", "x"), {name: "d/", mode: 0o500}}, want: map[string]string{"d": "dir 500", "d/f": "file 644 x"}},
	{name: "time before all time", entries: []entry{pax(record("mtime", "-99999999999999")), raw("f", '0', "00000000001\x00", "x")}, want: map[string]string{"f": "file 644 x"}},
	{name: "unknown kind", entries: []entry{raw("f", 'Q', "00000000001\x00", "x")}, err: "not known"},
	{name: "global header", entries: []entry{raw("g", 'g', fmt.Sprintf("%011o\x00", len(record("comment", "x"))), record("comment", "x")), file("f", "x")}, want: map[string]string{"f": "file 644 x"}},

	// Names that are no names.
	{name: "NUL in a name", entries: []entry{pax(record("path", "a\x00b")), raw("f", '0', "00000000001\x00", "x")}, err: "cannot read the archive"},
	{name: "NUL in a link", entries: []entry{pax(record("linkpath", "a\x00b")), raw("l", '2', "00000000000\x00", "")}, err: "cannot read the archive"},
	{name: "name that is no UTF-8", entries: []entry{raw("a\xff\xfe\n\x1b[31m", '0', "00000000001\x00", "x")}, want: map[string]string{"a\xff\xfe\n\x1b[31m": "file 644 x"}},
	{name: "name of 300 bytes", entries: []entry{file(strings.Repeat("n", 300), "x")}, err: "file name too long"},
	{name: "path of 5000 bytes", entries: []entry{file(strings.Repeat("a/", 2500)+"f", "x")}, err: "more than 4095 bytes in a path"},
	{name: "path of many folders", entries: []entry{file(strings.Repeat("a/", 200)+"f", "x")}, err: "more than 100 folders"},
	{name: "link of 5000 bytes", entries: []entry{symlink("l", strings.Repeat("a", 5000))}, err: "more than 4095 bytes in the target"},

	// Sizes that lie.
	{name: "negative size", entries: []entry{raw("f", '0', "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "x")}, err: "cannot read the archive"},
	{name: "PAX size that is negative", entries: []entry{pax(record("size", "-5")), raw("f", '0', "00000000001\x00", "x")}, err: "cannot read the archive"},
	{name: "PAX size beyond the end", entries: []entry{pax(record("size", "60000000")), raw("f", '0', "00000000001\x00", "x")}, err: "EOF"},
	{name: "PAX size over the limit", entries: []entry{pax(record("size", "9223372036854775807")), raw("f", '0', "00000000001\x00", "x")}, err: "over the limit"},
	{name: "huge sparse file", entries: []entry{pax(record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "s") + record("GNU.sparse.realsize", "1099511627776")), raw("f", '0', "00000001000\x00", "1\n1099511627775\n1\n"+strings.Repeat("\x00", 495)+"x")}, err: "over the limit"},
	{name: "sparse file", entries: []entry{pax(record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "s") + record("GNU.sparse.realsize", "1000001")), raw("f", '0', "00000001001\x00", string(padded("1\n1000000\n1\n"))+"x")}, want: map[string]string{"s": "file 644 1000001 bytes"}},
	{name: "sparse map that overlaps", entries: []entry{pax(record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "s") + record("GNU.sparse.realsize", "1000")), raw("f", '0', "00000001002\x00", string(padded("2\n10\n1\n5\n1\n"))+"xy")}, err: "cannot read the archive"},
	{name: "too many entries", data: func(t testing.TB) []byte {
		var all []entry
		for i := range 301 {
			all = append(all, dirOf(fmt.Sprint(i)))
		}
		return archive(t, all...)
	}, err: "more than 300 entries"},
	{name: "too many implied folders", data: func(t testing.TB) []byte {
		var all []entry
		for i := range 4 {
			all = append(all, dirOf(fmt.Sprint(i)+strings.Repeat("/a", 90)))
		}
		return archive(t, all...)
	}, err: "more than 300 entries"},
	{name: "too many bytes", data: func(t testing.TB) []byte {
		var all []entry
		for i := range 5 {
			all = append(all, file(fmt.Sprint(i), strings.Repeat("x", 15<<20)))
		}
		return archive(t, all...)
	}, err: "over the limit"},
	{name: "endless zeros behind the end", data: func(t testing.TB) []byte {
		return append(archive(t, file("f", "x")), make([]byte, 80<<20)...)
	}, err: "longer than its files may be"},

	// Archives that are none.
	{name: "truncated in a header", data: func(t testing.TB) []byte { return archive(t, file("a", "x"), file("b", "y"))[:1300] }, err: "EOF"},
	{name: "truncated in a file", data: func(t testing.TB) []byte { return archive(t, file("a", strings.Repeat("x", 5000)))[:3000] }, err: "EOF"},
	{name: "truncated before its end", data: func(t testing.TB) []byte { return archive(t, file("a", "x"))[:2048] }, want: map[string]string{"a": "file 644 x"}},
	{name: "nothing", data: func(testing.TB) []byte { return nil }, want: map[string]string{}},
	{name: "garbage", data: func(testing.TB) []byte { return bytes.Repeat([]byte("garbage!"), 512) }, err: "invalid tar header"},
	{name: "wrong checksum", data: func(t testing.TB) []byte {
		data := archive(t, file("a", "x"))
		data[len(data)-1536-512+1]++
		return data
	}, err: "invalid tar header"},
	{name: "packed twice", data: func(t testing.TB) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(archive(t, file("a", "x")))
		_ = w.Close()
		return append(b.Bytes(), make([]byte, 1024)...)
	}, err: "invalid tar header"},
	{name: "other bytes behind the end", data: func(t testing.TB) []byte {
		return append(archive(t, file("a", "x")), archive(t, file(out, "y"))...)
	}, want: map[string]string{"a": "file 644 x"}},
}

// bomb makes links each of which leads through the one before it twice.
func bomb() []entry {
	all := []entry{dirOf("d"), symlink("l0", "d/..")}
	for i := range 30 {
		all = append(all, symlink(fmt.Sprintf("l%d", i+1), fmt.Sprintf("l%d/l%d", i, i)))
	}
	return append(all, file("l30/f", "x"))
}

func TestHostileLayers(t *testing.T) {
	if len(corpus) < 60 {
		t.Fatalf("only %d layers", len(corpus))
	}
	for _, h := range corpus {
		t.Run(h.name, func(t *testing.T) {
			base := t.TempDir()
			c := plantCanary(t, base)
			top := filepath.Join(base, "layer")
			if err := os.Mkdir(top, 0o700); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(filepath.Join(top, "d"), 0o700) })
			entries := make([]entry, len(h.entries))
			for i, e := range h.entries {
				e.name, e.link = strings.ReplaceAll(e.name, "CANARY", c.dir), strings.ReplaceAll(e.link, "CANARY", c.dir)
				entries[i] = e
			}
			data := archive(t, entries...)
			if h.data != nil {
				data = h.data(t)
			}
			res, err := Unpack(t.Context(), top, bytes.NewReader(data), options())
			c.check(t)
			if h.err != "" {
				if err == nil || !strings.Contains(err.Error(), h.err) {
					t.Fatalf("err = %v, want %q", err, h.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Dropped != h.dropped || res.Opaque != h.opaque {
				t.Errorf("%+v", res)
			}
			if got, want := describe(t, top), h.tree(c); !maps.Equal(got, want) {
				t.Errorf("it is\n%q\nwant\n%q", got, want)
			}
		})
	}
}

// tree is what the layer must give, with the folders above the canary's place in it.
func (h hostile) tree(c canary) map[string]string {
	want := map[string]string{".": "dir 755"}
	for path, text := range h.want {
		if strings.HasPrefix(path, "CANARY") {
			for up := filepath.Dir(c.dir); up != "/"; up = filepath.Dir(up) {
				want[up[1:]] = "dir 755"
			}
			path = strings.Replace(path, "CANARY", c.dir[1:], 1)
		}
		want[path] = strings.ReplaceAll(text, "CANARY", short(c.dir))
	}
	return want
}
