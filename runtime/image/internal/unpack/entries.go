package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func (u *unpacker) folder(in *node, name string, h *tar.Header) error {
	if _, err := u.opts.metaOf(h); err != nil {
		return err
	}
	kid := in.kids[name]
	if kid == nil || kid.kind != folder {
		if err := u.replace(in, name); err != nil {
			return err
		}
		d, err := u.dirs.of(in)
		if err != nil {
			return err
		}
		if err := unix.Mkdirat(d.fd, name, 0o700); err != nil {
			return os.NewSyscallError("mkdir", err)
		}
		kid = in.add(name, folder)
	}
	kid.header = h
	return nil
}

// fresh frees a name and gives the open folder for it.
func (u *unpacker) fresh(in *node, name string, k kind) (*node, *dir, error) {
	if err := u.replace(in, name); err != nil {
		return nil, nil, err
	}
	d, err := u.dirs.of(in)
	if err != nil {
		return nil, nil, err
	}
	return in.add(name, k), d, nil
}

func (u *unpacker) symlink(in *node, name string, h *tar.Header) error {
	m, err := u.opts.metaOf(h)
	if err == nil {
		err = limit("bytes in the target of a link", int64(len(h.Linkname)), int64(u.opts.Limits.Path))
	}
	if err == nil && (h.Linkname == "" || strings.ContainsRune(h.Linkname, 0)) {
		err = errors.New("the link leads nowhere")
	}
	if err != nil {
		return err
	}
	kid, d, err := u.fresh(in, name, link)
	if err != nil {
		return err
	}
	kid.target = h.Linkname
	u.w.give(job{dir: d, name: name, rel: h.Name, meta: m, target: h.Linkname}, in.rel())
	return nil
}

// file reads a file's bytes and hands them to a writer as they come.
func (u *unpacker) file(in *node, name string, h *tar.Header) error {
	m, err := u.opts.metaOf(h)
	if err == nil {
		err = u.count(h.Size)
	}
	if err != nil {
		return err
	}
	kid, d, err := u.fresh(in, name, other)
	if err != nil {
		return err
	}
	j := job{dir: d, name: name, rel: h.Name, meta: m, size: h.Size, sparse: isSparse(h)}
	j.body = make(chan []byte, largeBuffers)
	u.w.give(j, in.rel())
	defer close(j.body)
	if !j.sparse && h.Size > 0 { // the bytes of a sparse file are not those of its archive
		u.in.file(kid.rel(), h.Size)
		defer u.in.resume()
	}
	for left := h.Size; left > 0; {
		b, err := u.w.buffer(left)
		if err != nil {
			return err
		}
		n, err := io.ReadFull(u.tar, b)
		if err != nil {
			u.w.release(b)
			return fmt.Errorf("cannot read its bytes: %w", err)
		}
		left -= int64(n)
		j.body <- b
	}
	return nil
}

// count adds the bytes of a file, which a hostile header may call more than there
// are numbers.
func (u *unpacker) count(size int64) error {
	if most := u.opts.Limits.Bytes; most > 0 && size > most-u.result.Bytes {
		return limit("bytes", most+1, most)
	}
	u.result.Bytes += size
	return nil
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// hardlink gives a file of this layer another name. A target outside of it, or in
// a layer below, is not there.
func (u *unpacker) hardlink(in *node, name string, h *tar.Header) error {
	parents, base, err := split(h.Linkname, u.opts.Limits)
	if err != nil || base == "" {
		return fmt.Errorf("its target %.300q: %w", h.Linkname, errors.Join(err, errNoFile))
	}
	from, err := enter(u.top, parents, func(*node, string) (*node, error) { return nil, errNoFile })
	if err != nil {
		return fmt.Errorf("its target %.300q: %w", h.Linkname, err)
	}
	target := from.kids[base]
	if target == nil || target.kind == folder || target == in.kids[name] {
		return fmt.Errorf("its target %.300q: %w", h.Linkname, errNoFile)
	}
	if err := u.w.settle(); err != nil {
		return err
	}
	kid, _, err := u.fresh(in, name, target.kind)
	if err != nil {
		return err
	}
	kid.target = target.target
	if !target.attached() { // it went with what the link replaces
		return fmt.Errorf("its target %.300q: %w", h.Linkname, errNoFile)
	}
	to, err := u.dirs.of(in)
	if err != nil {
		return err
	}
	defer to.use().done()
	src, err := u.dirs.of(from)
	if err != nil {
		return err
	}
	return os.NewSyscallError("link", unix.Linkat(src.fd, base, to.fd, name, 0))
}

var errNoFile = errors.New("it is no file of this layer")

// attached tells whether the node can still be reached from the top.
func (n *node) attached() bool {
	for ; !n.top(); n = n.up {
		if n.up.kids[n.name] != n {
			return false
		}
	}
	return true
}

func (u *unpacker) fifo(in *node, name string, h *tar.Header) error {
	m, err := u.opts.metaOf(h)
	if err != nil {
		return err
	}
	_, d, err := u.fresh(in, name, other)
	if err != nil {
		return err
	}
	if err := unix.Mknodat(d.fd, name, unix.S_IFIFO|m.mode&0o777, 0); err != nil {
		return os.NewSyscallError("mkfifo", err)
	}
	// It is what was made right now, and nobody else reaches this folder.
	if err := unix.Fchmodat(d.fd, name, m.mode, 0); err != nil {
		return os.NewSyscallError("chmod", err)
	}
	return u.opts.dressName(d, name, m)
}
