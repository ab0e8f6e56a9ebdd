package imagekit

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The images are whole, and the same each time.
func TestImages(t *testing.T) {
	for name, make := range map[string]func(testing.TB) v1.Image{"tiny": Tiny, "busybox": Busybox, "debian": Debian} {
		t.Run(name, func(t *testing.T) {
			img := make(t)
			a, err := img.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if b, err := make(t).Digest(); err != nil || a != b {
				t.Errorf("made again it is %s, was %s: %v", b, a, err)
			}
			layers, err := img.Layers()
			if err != nil || len(layers) != 2 {
				t.Fatalf("%d layers, %v", len(layers), err)
			}
			for _, l := range layers {
				if n, err := l.Size(); err != nil || n == 0 {
					t.Errorf("a layer of %d bytes, %v", n, err)
				}
			}
		})
	}
}
