package envcache

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"agentctl/envcache/internal/secret"
	"agentctl/internal/fsx"
)

// library is a file of an index that is known by its digest.
type library struct{ project, file, sha256 string }

// pyhocon and what it needs. It is released as source alone: its modules are unpacked,
// and nothing of it is run to install it.
var (
	pyhoconLibrary   = library{"pyhocon", "pyhocon-0.3.63.tar.gz", "7c98db21453c0390c6cedc376576fee4e0a153da5f2201bc681cf886820f4a7c"}
	pyparsingLibrary = library{"pyparsing", "pyparsing-3.3.3-py3-none-any.whl", "ece8c00a69cf01b45d0b1dedabb469c90d8caf996d4fda40f147627a122849a4"}
)

// pyhoconModules is the folder of pyhocon's modules in its archive.
const pyhoconModules = "pyhocon-0.3.63/pyhocon/"

// pyhocon gives an interpreter of the host and the folders that it imports pyhocon from.
func (t *toolbox) pyhocon(ctx context.Context, getenv func(string) string) (Interpreter, []string, error) {
	req := Request{UID: SameUser, GID: SameUser}
	py, err := t.interpreter(ctx, product{project: "pyhocon", version: "0.3.63", oldest: [3]int{3, 9, 0}}, req)
	if err != nil {
		return py, nil, err
	}
	a := newAccess(getenv, req, nil)
	var dirs []string
	for _, r := range []library{pyhoconLibrary, pyparsingLibrary} {
		dir := filepath.Join(t.dir, strings.TrimSuffix(strings.TrimSuffix(r.file, ".tar.gz"), "-py3-none-any.whl"))
		dirs = append(dirs, dir)
		if isDir(dir) {
			continue
		}
		err := t.once(ctx, dir, func(tmp string) error {
			data, err := r.download(ctx, py, a)
			switch {
			case err != nil:
				return err
			case strings.HasSuffix(r.file, ".whl"):
				return unzip(data, tmp)
			}
			return untar(data, pyhoconModules, filepath.Join(tmp, "pyhocon"))
		})
		if err != nil {
			return py, nil, err
		}
	}
	return py, dirs, nil
}

// download fetches a library from the first index that has it.
func (r library) download(ctx context.Context, py Interpreter, src *access) ([]byte, error) {
	l, err := src.logins(ctx)
	if err != nil {
		return nil, err
	}
	failed := errors.New("no index is known; write index-url into pip.conf")
	for _, base := range append([]string{cmp.Or(src.settings.index, defaultIndex(py))}, src.settings.extra...) {
		if base == "" {
			continue
		}
		x, err := newIndex(src.settings, l.machines, secret.Host(base))
		if err != nil {
			return nil, err
		}
		data, err := x.fetch(ctx, base, r.project, r.sha256, r.file)
		if err == nil {
			return data, nil
		}
		failed = err
	}
	return nil, failed
}

// untar unpacks the files right below a folder of an archive.
func untar(data []byte, folder, dir string) error {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for r := tar.NewReader(io.LimitReader(z, 8*mostWheel)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, below := strings.CutPrefix(h.Name, folder)
		if !below || h.Typeflag != tar.TypeReg || strings.Contains(name, "/") || !filepath.IsLocal(name) {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := fsx.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return fmt.Errorf("cannot unpack %s: %w", name, err)
		}
	}
}
