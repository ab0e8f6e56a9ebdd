package imagekit

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Large is an image as those for training are: 340 MB in 22,000 files of five layers,
// of which one has three quarters, packed to about half. Each number is another one of
// the same kind.
func Large(t testing.TB, number int) v1.Image {
	t.Helper()
	return Kept(t, fmt.Sprintf("large%d-%s", number, kept), func(string) (v1.Image, error) {
		var layers []v1.Layer
		for i, share := range []float64{0.12, 0.73, 0.08, 0.05, 0.02} {
			data, err := tree(uint64(number*10+i), int64(share*340e6), int(share*22_000))
			if err != nil {
				return nil, err
			}
			l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
			if err != nil {
				return nil, err
			}
			layers = append(layers, l)
		}
		return imageOf(v1.Config{Cmd: []string{"/bin/sh"}}, layers...)
	})
}

// tree is an archive of files as site-packages has them: many small ones of text, some
// large ones of code, eight to a folder.
func tree(seed uint64, size int64, files int) ([]byte, error) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	words := make([]string, 2000)
	for i := range words {
		words[i] = fmt.Sprintf("%x ", rnd.Uint64()>>(8+rnd.IntN(40)))
	}
	top := fmt.Sprintf("opt/layer%d", seed)
	for _, d := range []string{"opt/", top + "/"} {
		if err := w.WriteHeader(&tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: Made}); err != nil {
			return nil, err
		}
	}
	left := size
	for i := range files {
		dir := fmt.Sprintf("%s/pkg%03d/mod%02d", top, i/160, i/8%20)
		for _, d := range []string{dir[:len(dir)-6], dir} {
			if i%160 == 0 && d != dir || i%8 == 0 && d == dir {
				if err := w.WriteHeader(&tar.Header{Name: d + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: Made}); err != nil {
					return nil, err
				}
			}
		}
		n := left / int64(files-i) / 4
		if rnd.IntN(40) == 0 { // a library
			n = left / int64(files-i) * 30
		}
		n = min(left, n)
		left -= n
		body := make([]byte, 0, n+32)
		for int64(len(body)) < n {
			if rnd.IntN(6) == 0 {
				for range 8 {
					body = append(body, byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()))
				}
			}
			body = append(body, words[rnd.IntN(len(words))]...)
		}
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%s/file%d.py", dir, i), Typeflag: tar.TypeReg, Mode: 0o644, Size: n, ModTime: Made}); err != nil {
			return nil, err
		}
		if _, err := w.Write(body[:n]); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
