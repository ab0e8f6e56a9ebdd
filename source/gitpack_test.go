package source

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/transport"
)

// packOf makes a pack of objects that say what they like of themselves.
func packOf(t testing.TB, objects ...packed) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("PACK")
	_ = binary.Write(&b, binary.BigEndian, []uint32{2, uint32(len(objects))})
	for _, o := range objects {
		size := o.says
		first := byte(o.kind<<4) | byte(size&15)
		for size >>= 4; ; size >>= 7 {
			if size == 0 {
				b.WriteByte(first)
				break
			}
			b.WriteByte(first | 0x80)
			first = byte(size & 0x7f)
		}
		if o.kind == 7 {
			b.Write(make([]byte, 20))
		}
		w := zlib.NewWriter(&b)
		_, _ = w.Write(o.data)
		_ = w.Close()
	}
	sum := sha1.Sum(b.Bytes())
	b.Write(sum[:])
	return b.Bytes()
}

type packed struct {
	kind int // 3 is a blob, 7 a delta
	says int
	data []byte
}

// TestCheckPack: sizes are judged before anything is unpacked into memory.
func TestCheckPack(t *testing.T) {
	delta := func(target int) []byte { // of an empty base to target
		out := []byte{0}
		for ; target > 0x7f; target >>= 7 {
			out = append(out, byte(target&0x7f)|0x80)
		}
		return append(out, byte(target))
	}
	zeros := make([]byte, maxObject+1)
	for name, c := range map[string]struct {
		objects []packed
		large   bool
		bad     bool
	}{
		"nothing":           {},
		"small":             {objects: []packed{{3, 2, []byte("ab")}, {7, 2, delta(100)}}},
		"large":             {objects: []packed{{3, len(zeros), zeros}}, large: true},
		"more than it says": {objects: []packed{{3, 1, []byte("abc")}}, bad: true},
		"a delta to much":   {objects: []packed{{7, len(delta(maxObject + 1)), delta(maxObject + 1)}}, large: true},
		"half a delta":      {objects: []packed{{7, 1, []byte{0x80}}}, large: true},
	} {
		n, err := checkPack(bytes.NewReader(packOf(t, c.objects...)))
		switch {
		case c.large && !errors.Is(err, errTooLarge), c.bad && err == nil, !c.large && !c.bad && err != nil:
			t.Errorf("%s: %v", name, err)
		case err == nil && n != len(c.objects):
			t.Errorf("%s: %d objects, want %d", name, n, len(c.objects))
		}
	}
}

// FuzzPack: whatever a server sends is judged without a panic.
func FuzzPack(f *testing.F) {
	f.Add(packOf(f, packed{3, 2, []byte("ab")}, packed{7, 2, []byte{0, 9}}))
	f.Add([]byte("PACK"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := checkPack(bytes.NewReader(data)); err == nil && n > len(data) {
			t.Fatalf("%d objects in %d bytes", n, len(data))
		}
	})
}

// FuzzSigners: a line that is taken has a key and a name.
func FuzzSigners(f *testing.F) {
	f.Add("ann@example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEAjJ6Yt2xkbH9HVbR0YCcC1VfyqVgmZ1dvgOXdE9i8z x")
	f.Add("# x\n\"a b\" namespaces=\"git\",valid-before=\"20300101Z\" ssh-ed25519 AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		signers, err := parseSigners(text)
		if err != nil {
			return
		}
		for _, s := range signers {
			if s.key == nil || s.who == "" && s.key != nil && len(text) == 0 {
				t.Fatalf("%q: %+v", text, s)
			}
		}
	})
}

// FuzzCredential: only a line for the very server gives a login, and no error
// repeats the text.
func FuzzCredential(f *testing.F) {
	f.Add("https://u:sekret@host.example\n", "https://host.example/x.git")
	f.Add("https://u:sekret@host.example:8443/team\n", "https://host.example:8443/team/x.git")
	f.Add("sekret", "https://host.example/x.git")
	f.Fuzz(func(t *testing.T, text, url string) {
		ep, err := Git{URL: url}.endpoint()
		if err != nil || ep.Protocol == "file" {
			return
		}
		auth, err := credential(text, ep)
		if err == nil && auth == nil {
			t.Fatal("neither a login nor an error")
		}
		if err != nil && bytes.Contains([]byte(err.Error()), []byte("sekret")) {
			t.Fatalf("a secret in %v", err)
		}
	})
}

func TestCredential(t *testing.T) {
	const text = "https://a:1@host.example/team\nhttps://b:2@host.example\nhttps://c:3@host.example:8443\nhttp://d:4@localhost\n"
	for url, want := range map[string]string{
		"https://host.example/x.git": "2", "https://host.example/team/x.git": "1", "https://host.example/teams/x.git": "2",
		"https://host.example:8443/x": "3", "https://other.example/x": "", "http://host.example/x": "", "http://localhost/x": "4",
		"https://host.example.evil/x": "", "https://HOST.example/x": "2",
	} {
		ep, err := transport.NewEndpoint(url)
		must(t, err)
		got := ""
		if auth, err := credential(text, ep); err == nil {
			got = auth.Password
		}
		if got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}
