package envcache

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"agentctl/internal/tree"
)

// kinds are the types of a tar entry for the kinds of an item.
var kinds = map[byte]byte{'d': tar.TypeDir, 'f': tar.TypeReg, 'l': tar.TypeSymlink}

// entryName is the name of an item in an archive.
func (it item) entryName() string {
	switch {
	case it.path == ".":
		return filesFolder
	case it.kind == 'd':
		return filesFolder + it.path + "/"
	}
	return filesFolder + it.path
}

// pack writes the files of the environment at top, each only if it still is what
// the manifest says.
func (m manifest) pack(ctx context.Context, w *tar.Writer, top string) error {
	files, err := tree.OpenFiles(top)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	for _, it := range m {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		h := tar.Header{
			Typeflag: kinds[it.kind], Name: it.entryName(), Linkname: it.target, Size: it.size,
			Mode: int64(it.mode), ModTime: time.Unix(0, it.mtime),
		}
		if it.kind == 'x' {
			return fmt.Errorf("%q is no file, folder or link", it.path)
		}
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		if it.kind != 'f' {
			continue
		}
		if err := packFile(w, files, it); err != nil {
			return err
		}
	}
	return nil
}

func packFile(w io.Writer, files tree.Files, it item) error {
	f, err := files.Open(it.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(w, sum), f, it.size)
	if more, _ := f.Read(make([]byte, 1)); errors.Is(err, io.EOF) || err == nil && (more > 0 || !it.is(sum)) {
		c := &Changed{}
		c.add("changed", it.path)
		return c
	}
	return err
}

func (it item) is(sum hash.Hash) bool { return hex.EncodeToString(sum.Sum(nil)) == it.digest }

// layout is where the files of an archive go.
type layout struct {
	root     *os.Root
	uid, gid int // -1: they stay this process's
	// keep, if not nil, names what is there already and stays.
	keep func(it item) bool
}

// unpack lays out the files of an archive and checks each.
func (a *archiveReader) unpack(ctx context.Context, to layout) error {
	if a.read {
		return errors.New("the archive was read already; import it again")
	}
	a.read = true
	for _, it := range a.manifest {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		size, err := a.next(it.entryName(), kinds[it.kind])
		if err == nil && size != it.size {
			err = fmt.Errorf("%q has another size than its manifest says", shorten(it.path))
		}
		if err == nil {
			err = to.put(it, a.tar)
		}
		if err != nil {
			return err
		}
	}
	if err := a.end(); err != nil {
		return err
	}
	// Folders last: what is in them must be writable until here.
	for _, it := range slices.Backward(a.manifest) {
		if it.kind != 'd' {
			continue
		}
		if err := to.root.Chmod(it.path, it.mode); err != nil {
			return err
		}
		if err := to.own(it.path); err != nil {
			return err
		}
	}
	return nil
}

func (to layout) own(name string) error {
	if to.uid < 0 {
		return nil
	}
	return to.root.Lchown(name, to.uid, to.gid)
}

// put makes one item.
func (to layout) put(it item, from io.Reader) error {
	if it.path == "." {
		return nil
	}
	there, err := to.root.Lstat(it.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	kept := err == nil && to.keep != nil && to.keep(it)
	switch {
	case kept && it.kind == 'f':
		_, err := io.CopyN(io.Discard, from, it.size)
		return err
	case kept, err == nil && it.kind == 'd' && there.IsDir():
		return nil
	case err == nil:
		if err := to.root.Remove(it.path); err != nil {
			return err
		}
	}
	switch it.kind {
	case 'd':
		return to.root.Mkdir(it.path, 0o700)
	case 'l':
		if err := to.root.Symlink(it.target, it.path); err != nil {
			return err
		}
		return to.own(it.path)
	}
	return to.file(it, from)
}

func (to layout) file(it item, from io.Reader) error {
	f, err := to.root.OpenFile(it.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, sum), from, it.size)
	if err == nil && !it.is(sum) {
		err = fmt.Errorf("%q is not what its manifest says", shorten(it.path))
	}
	if err == nil && to.uid >= 0 {
		err = f.Chown(to.uid, to.gid)
	}
	if err == nil {
		err = f.Chmod(it.mode)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	then := time.Unix(0, it.mtime)
	return to.root.Chtimes(it.path, then, then)
}
