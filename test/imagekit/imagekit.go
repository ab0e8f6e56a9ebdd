// Package imagekit gives tests real container images, and registries that serve them:
// a tiny one with one static program, one of Debian's busybox and musl, and a Debian
// root with Python. They are made with go-containerregistry of packages of the host's
// own distribution, which nobody installs, and are kept in .cache for later runs. No
// image needs root to be made.
package imagekit

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Made is the time of all that the kit makes, so that the same content has the same
// digest.
var Made = time.Unix(1_700_000_000, 0).UTC()

// File is an entry of a layer. What is not said has a usual value.
type File struct {
	Name string
	Body string
	Link string // target of a symbolic link
	Mode int64  // 0: 0755 for a folder, which has a slash at its end, and 0644 for a file
	// Header changes what is written, for entries that are anything but usual.
	Header func(*tar.Header)
}

// Tar writes entries as a layer's archive.
func Tar(files ...File) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Typeflag: tar.TypeReg, Size: int64(len(f.Body)), Mode: 0o644, ModTime: Made, Format: tar.FormatPAX}
		switch {
		case f.Link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
		case f.Name[len(f.Name)-1] == '/':
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if f.Mode != 0 {
			h.Mode = f.Mode
		}
		if f.Header != nil {
			f.Header(h)
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("cannot write %q: %w", f.Name, err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, f.Body); err != nil {
				return nil, fmt.Errorf("cannot write %q: %w", f.Name, err)
			}
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// Layer makes a layer of entries, packed by gzip.
func Layer(t testing.TB, files ...File) v1.Layer {
	t.Helper()
	data, err := Tar(files...)
	if err != nil {
		t.Fatal(err)
	}
	return LayerOf(t, data)
}

// LayerOf makes a layer of an archive.
func LayerOf(t testing.TB, data []byte) v1.Layer {
	t.Helper()
	l, err := layerOf(data)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func layerOf(data []byte) (v1.Layer, error) {
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
}

// Image makes an image for this host of layers, the lowest first.
func Image(t testing.TB, c v1.Config, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := imageOf(c, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// Build is Image of archives, for those who have no test.
func Build(c v1.Config, layers ...[]byte) (v1.Image, error) {
	var all []v1.Layer
	for _, data := range layers {
		l, err := layerOf(data)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return imageOf(c, all...)
}

func imageOf(c v1.Config, layers ...v1.Layer) (v1.Image, error) {
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...)
	if err != nil {
		return nil, err
	}
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.Config, cf.OS, cf.Architecture, cf.Created = c, "linux", goruntime.GOARCH, v1.Time{Time: Made}
	return mutate.ConfigFile(img, cf)
}

// root is the repository's top folder.
var root = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, serr := os.Stat(filepath.Join(dir, "go.mod")); serr == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			err = fmt.Errorf("no go.mod above the working folder")
		}
	}
	return "", err
})

// cache is a folder for what the kit keeps.
func cache() (string, error) {
	top, err := root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(top, ".cache", "imagekit")
	return dir, os.MkdirAll(dir, 0o755)
}

// Tiny is an image of two layers with nothing but the static program /bin/probe (see
// its source), which is its entrypoint, an /etc/passwd, and folders that a sandbox
// mounts on.
func Tiny(t testing.TB) v1.Image {
	t.Helper()
	program, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	base := []File{
		{Name: "bin/"}, {Name: "dev/"}, {Name: "etc/"}, {Name: "home/"}, {Name: "proc/"}, {Name: "root/", Mode: 0o700}, {Name: "run/"}, {Name: "sys/"},
		{Name: "tmp/", Mode: 0o1777}, {Name: "var/"}, {Name: "etc/passwd", Body: "root:x:0:0:root:/root:/bin/probe\nnobody:x:65534:65534:nobody:/:/bin/probe\n"},
		{Name: "etc/group", Body: "root:x:0:\nnogroup:x:65534:\n"},
	}
	return Image(t, v1.Config{Entrypoint: []string{"/bin/probe"}, Cmd: []string{"see"}, Env: []string{"PATH=/bin", "KIT=tiny"}, WorkingDir: "/tmp"},
		Layer(t, base...), Layer(t, File{Name: "bin/probe", Body: string(program), Mode: 0o755}))
}

// probe builds the static program.
func probe() ([]byte, error) {
	top, err := root()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", filepath.Join(dir, "probe"), "./test/imagekit/probe")
	cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot build the program of the tiny image: %w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "probe"))
}
