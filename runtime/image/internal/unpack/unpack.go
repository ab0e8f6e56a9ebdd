package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."
	opaqueMark     = ".wh..wh..opq"
)

// unpacker is one layer on its way.
type unpacker struct {
	opts   Options
	root   *os.Root
	top    *node
	dirs   *dirs
	w      *writers
	in     *tap
	tar    *tar.Reader
	result Result
}

// Unpack unpacks the stream r into the folder at path, which is empty, and reads r
// to its end. Of a failure it leaves what was unpacked until then.
func Unpack(ctx context.Context, path string, r io.Reader, o Options) (Result, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = root.Close() }()
	top, err := root.Open(".")
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = top.Close() }()
	u := &unpacker{opts: o, root: root, top: newTop(), dirs: &dirs{top: top}}
	u.in = newTap(r, o)
	u.tar = tar.NewReader(u.in)
	u.w = startWriters(ctx, o)
	err = u.read()
	u.dirs.flush()
	if werr := u.w.close(); werr != nil { // then what the reader says follows from it
		err = werr
	}
	if err == nil {
		err = u.finish(u.top)
	}
	if err == nil {
		err = u.in.end()
	}
	u.result.Stream, u.result.Lost = u.in.n, u.in.broken
	return u.result, err
}

// read goes through the stream.
func (u *unpacker) read() error {
	for {
		h, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot read the archive of the layer: %w", err)
		}
		if err := context.Cause(u.w.ctx); err != nil {
			return err
		}
		if u.result.Entries++; u.opts.Limits.Entries > 0 && u.result.Entries > u.opts.Limits.Entries {
			return limit("entries", int64(u.result.Entries), int64(u.opts.Limits.Entries))
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := u.entry(h); err != nil {
			return fmt.Errorf("cannot unpack %.300q: %w", h.Name, err)
		}
	}
	// What is behind the end of the archive belongs to the digest of the layer.
	if _, err := io.Copy(io.Discard, u.in); err != nil {
		return fmt.Errorf("cannot read the archive of the layer: %w", err)
	}
	return nil
}

func (u *unpacker) entry(h *tar.Header) error {
	parents, base, err := split(h.Name, u.opts.Limits)
	if err != nil {
		return err
	}
	if base == "" {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the top of a layer must be a folder")
		}
		u.top.header = h
		_, err := u.opts.metaOf(h)
		return err
	}
	for _, p := range parents {
		if strings.HasPrefix(p, whiteoutPrefix) {
			return errors.New("a mark of what is removed can't be a folder")
		}
	}
	in, err := enter(u.top, parents, u.implied)
	if err != nil {
		return err
	}
	if err := limit("folders within each other", int64(in.depth()+1), int64(u.opts.Limits.Depth)); err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return u.whiteout(in, base)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(in, base, h)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return u.file(in, base, h)
	case tar.TypeSymlink:
		return u.symlink(in, base, h)
	case tar.TypeLink:
		return u.hardlink(in, base, h)
	case tar.TypeFifo:
		return u.fifo(in, base, h)
	case tar.TypeChar, tar.TypeBlock:
		u.result.Dropped++
		return u.replace(in, base)
	}
	return fmt.Errorf("entries of type %q are not known", h.Typeflag)
}

// whiteout notes what the layer hides of those below. It is made at the end, since
// it must hide nothing of this layer, whatever the order.
func (u *unpacker) whiteout(in *node, base string) error {
	name := strings.TrimPrefix(base, whiteoutPrefix)
	switch {
	case base == opaqueMark:
		in.opaque = true
		u.result.Opaque = u.result.Opaque || in.top()
	case strings.HasPrefix(base, whiteoutMeta): // of aufs
	case name == "", name == ".", name == "..":
		return errors.New("it names nothing to be removed")
	default:
		if in.gone == nil {
			in.gone = map[string]bool{}
		}
		in.gone[name] = true
	}
	return nil
}

// implied makes a folder that the stream does not tell of.
func (u *unpacker) implied(in *node, name string) (*node, error) {
	if err := limit("folders within each other", int64(in.depth()+1), int64(u.opts.Limits.Depth)); err != nil {
		return nil, err
	}
	// A link may lead to names that no entry could have.
	if strings.HasPrefix(name, whiteoutPrefix) {
		return nil, errors.New("a mark of what is removed can't be a folder")
	}
	d, err := u.dirs.of(in)
	if err != nil {
		return nil, err
	}
	if err := unix.Mkdirat(d.fd, name, 0o700); err != nil {
		return nil, &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	// Paths through links multiply folders that no entry names.
	if u.result.Entries++; u.opts.Limits.Entries > 0 && u.result.Entries > u.opts.Limits.Entries {
		return nil, limit("entries", int64(u.result.Entries), int64(u.opts.Limits.Entries))
	}
	return in.add(name, folder), nil
}

// replace removes what has the name, so that something else can have it.
func (u *unpacker) replace(in *node, name string) error {
	old := in.kids[name]
	if old == nil {
		return nil
	}
	if err := u.w.settle(); err != nil {
		return err
	}
	u.dirs.flush()
	if old.kind == other || len(old.kids) > 0 {
		u.in.lost()
	}
	if err := u.root.RemoveAll(old.rel()); err != nil {
		return err
	}
	delete(in.kids, name)
	return nil
}
