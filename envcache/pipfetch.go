package envcache

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"agentctl/envcache/internal/secret"
	"agentctl/internal/fsx"
)

// download fetches a pip: the pinned one by its digest, any other by the digest
// that the index gives.
func download(ctx context.Context, version string, py Interpreter, src *access) ([]byte, error) {
	bases := append([]string{cmp.Or(src.settings.index, defaultIndex(py))}, src.settings.extra...)
	if bases[0] == "" {
		bases = bases[1:]
	}
	if len(bases) == 0 {
		return nil, fmt.Errorf("pip %s can't be fetched: no index is known; write packageManager.indexUrl", version)
	}
	sha, names := pipSHA256, []string{pipWheel}
	if version != pipVersion {
		sha, names = "", []string{"pip-" + version + "-py3-none-any.whl", "pip-" + version + "-py2.py3-none-any.whl"}
	}
	l, err := src.logins(ctx)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, base := range bases {
		x, err := newIndex(src.settings, l.machines, secret.Host(base))
		if err != nil {
			return nil, err
		}
		data, err := x.fetch(ctx, base, "pip", sha, names...)
		if err == nil {
			return data, nil
		}
		failed = cmp.Or(failed, err)
	}
	return nil, failed
}

// unzip unpacks a wheel.
func unzip(data []byte, dir string) error {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	left := int64(8 * mostWheel)
	for _, f := range r.File {
		if f.Mode().IsDir() {
			continue
		}
		path, err := fsx.SafeJoin(dir, f.Name)
		if err != nil {
			return err
		}
		if f.UncompressedSize64 > mostWheel || !f.Mode().IsRegular() {
			return fmt.Errorf("%s is no file of a plain wheel", f.Name)
		}
		if left -= int64(f.UncompressedSize64); left < 0 {
			return errors.New("the wheel is too large")
		}
		if err := unzipFile(f, path); err != nil {
			return err
		}
	}
	return nil
}

func unzipFile(f *zip.File, path string) error {
	from, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	data, err := io.ReadAll(io.LimitReader(from, mostWheel))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = to.Write(data)
	return errors.Join(err, to.Close())
}

var indexInPip = regexp.MustCompile(`(?m)^PyPI = PackageIndex\(\s*"(https://[^"]+)"`)

// defaultIndex is the index that pip uses when it is told none, as the
// interpreter's own pip knows it; "" if that can't be read.
func defaultIndex(py Interpreter) string {
	const file = "pip/_internal/models/index.py"
	text := ""
	if r, err := zip.OpenReader(py.PipWheel); err == nil {
		defer func() { _ = r.Close() }()
		if f, err := r.Open(file); err == nil {
			data, _ := io.ReadAll(io.LimitReader(f, mostPage))
			text = string(data)
		}
	} else if data, err := os.ReadFile(filepath.Join(py.PipFolder, file)); err == nil {
		text = string(data)
	}
	m := indexInPip.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return strings.TrimRight(m[1], "/") + "/simple"
}
