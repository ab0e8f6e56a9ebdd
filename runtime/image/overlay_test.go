package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/test/imagekit"
)

// The kernel sees layers as docker means them.
func TestOverlay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount layers")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil { // the temporary folder may be an overlay itself
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	r := imagekit.Serve(t, &imagekit.Registry{})
	s := openStore(t, filepath.Join(dir, "images"), nil, r)
	f := func(name string) imagekit.File { return imagekit.File{Name: name, Body: "x"} }
	for name, tc := range map[string]struct {
		layers [][]imagekit.File
		want   string
	}{
		"removed":                {[][]imagekit.File{{f("a"), f("d/b"), f("d/c")}, {f(".wh.a"), f("d/.wh.b")}}, "d d/c"},
		"folder removed":         {[][]imagekit.File{{f("d/b"), f("e")}, {f(".wh.d")}}, "e"},
		"opaque":                 {[][]imagekit.File{{f("d/b"), f("e/g")}, {f("d/.wh..wh..opq"), f("d/new")}}, "d d/new e e/g"},
		"removed and made again": {[][]imagekit.File{{f("d/b")}, {f(".wh.d"), f("d/c")}}, "d d/c"},
		"opaque at the top":      {[][]imagekit.File{{f("a")}, {f("b")}, {f(".wh..wh..opq"), f("c")}, {f("d")}}, "c d"},
		"link over a folder":     {[][]imagekit.File{{f("lib/a")}, {{Name: "lib", Link: "usr"}}}, "lib"},
		"the same layer twice":   {[][]imagekit.File{{f("a")}, {f(".wh.a")}, {f("a")}}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			var layers []v1.Layer
			for _, l := range tc.layers {
				layers = append(layers, imagekit.Layer(t, l...))
			}
			l := acquire(t, s, Request{Ref: r.Push(t, "kit:1", imagekit.Image(t, v1.Config{}, layers...)), Policy: Always})
			at, empty := filepath.Join(dir, "root"), filepath.Join(dir, "empty")
			for _, d := range []string{at, empty} {
				if err := os.MkdirAll(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := syscall.Mount("overlay", at, "overlay", syscall.MS_RDONLY, "lowerdir="+strings.Join(append(l.Layers, empty), ":")); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Unmount(at, 0) }()
			var seen []string
			for rel := range files(t, []string{at}) {
				if rel != "." {
					seen = append(seen, rel)
				}
			}
			if slices.Sort(seen); strings.Join(seen, " ") != tc.want {
				t.Errorf("there is %q, want %q", seen, tc.want)
			}
		})
	}
}
