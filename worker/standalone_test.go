package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPythonOfAnImage: a standalone task gets the version that it was made with, else
// the one that the image has; no link of the image leads to the host's.
func TestPythonOfAnImage(t *testing.T) {
	t.Parallel()
	layer := func(files ...string) string {
		dir := t.TempDir()
		for _, file := range files {
			name, link, _ := strings.Cut(file, "->")
			name = filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			err := os.WriteFile(name, nil, 0o755)
			if link != "" {
				_ = os.Remove(name)
				err = os.Symlink(link, name)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for _, c := range []struct {
		layers        []string
		env, version  string
		want, refused string
	}{
		{layers: []string{layer("usr/local/bin/python3.12", "usr/local/bin/python3->python3.12")}, version: "3.12.1", want: "/usr/local/bin/python3.12"},
		{layers: []string{layer("etc/x"), layer("usr/bin/python3.9", "usr/bin/python3->python3.9")}, version: "3.12", want: "/usr/bin/python3"},
		{layers: []string{layer("usr/bin/python3->/outside/python3")}, want: "/usr/bin/python3"},
		{layers: []string{layer("opt/conda/bin/python3", "usr/bin/python3")}, env: "PATH=/opt/conda/bin:/usr/bin", want: "/opt/conda/bin/python3"},
		{layers: []string{layer("bin->/usr/bin")}, refused: "has no Python"},
		{layers: []string{layer("bin/sh")}, refused: "has no Python"},
	} {
		got, err := (&Image{Ref: "x", Layers: c.layers, Env: []string{c.env}}).python(c.version)
		if got != c.want || (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}
