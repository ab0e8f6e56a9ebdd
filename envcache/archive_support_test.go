package envcache

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"agentctl/internal/tree"
)

const forgedKey = "0123456789abcdef0123456789abcdef"

// forged is an archive made by hand: what Export would never write.
type forged struct {
	pass  passport
	items manifest
	files map[string]string     // content, by path
	turn  func(*tar.Header)     // changes an entry on its way
	after func(w *tar.Writer)   // adds what does not belong there
	text  func(m []byte) []byte // changes the manifest's text
}

func file(name, text string) item {
	sum := sha256.Sum256([]byte(text))
	return item{kind: 'f', path: name, size: int64(len(text)), mode: 0o644, mtime: 1_600_000_000_000_000_005, digest: hex.EncodeToString(sum[:])}
}

func folder(name string) item       { return item{kind: 'd', path: name, mode: 0o755} }
func link(name, target string) item { return item{kind: 'l', path: name, target: target} }

// forge is an archive that is in order, to be spoiled.
func forge() forged {
	return forged{
		pass: passport{
			Format: archiveFormat, Key: forgedKey, Path: "/old/envs/" + forgedKey,
			Record: record{Manager: ManagerPip, Parts: []Part{{Name: "schema", Value: schema}}},
		},
		items: manifest{folder("."), folder("bin"), file("bin/run", "#!/old\n"), link("bin/out", "/etc/passwd"), link("in", "bin"), folder("lib"), file("lib/x", "xx")},
		files: map[string]string{"bin/run": "#!/old\n", "lib/x": "xx"},
	}
}

// tar writes the archive, not compressed.
func (f forged) tar(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h *tar.Header, data []byte) {
		h.Size = int64(len(data))
		if f.turn != nil {
			f.turn(h)
		}
		if err := w.WriteHeader(h); err == nil {
			_, _ = w.Write(data[:min(h.Size, int64(len(data)))])
		}
	}
	head, err := json.Marshal(f.pass)
	if err != nil {
		t.Fatal(err)
	}
	text := f.items.text()
	if f.text != nil {
		text = f.text(text)
	}
	put(&tar.Header{Typeflag: tar.TypeReg, Name: passportName}, head)
	put(&tar.Header{Typeflag: tar.TypeReg, Name: manifestName}, text)
	for _, it := range f.items {
		put(&tar.Header{Typeflag: kinds[it.kind], Name: it.entryName(), Linkname: it.target}, []byte(f.files[it.path]))
	}
	if f.after != nil {
		f.after(w)
	}
	_ = w.Close()
	return b.Bytes()
}

func squeeze(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err == nil {
		_, err = z.Write(data)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// layOut reads an archive into a new folder, which has a neighbour that nothing
// may touch.
func layOut(t testing.TB, open func(io.Reader) (*archiveReader, error), archive []byte) (top string, m manifest, err error) {
	t.Helper()
	dir := t.TempDir()
	top = filepath.Join(dir, "env")
	if err := errors.Join(os.Mkdir(top, 0o755), os.WriteFile(filepath.Join(dir, "canary"), []byte("sings"), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Remove(top) })
	a, err := open(bytes.NewReader(archive))
	if err == nil {
		defer a.close()
		m = a.manifest
		var root *os.Root
		if root, err = os.OpenRoot(top); err == nil {
			defer root.Close()
			err = a.unpack(t.Context(), layout{root: root, uid: -1})
		}
	}
	canary, cerr := os.ReadFile(filepath.Join(dir, "canary"))
	if around, lerr := os.ReadDir(dir); cerr != nil || lerr != nil || string(canary) != "sings" || len(around) != 2 {
		t.Fatalf("the neighbour: %q, %v; %v, %v", canary, cerr, around, lerr)
	}
	return top, m, err
}
