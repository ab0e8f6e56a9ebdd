package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/samber/lo"
	"golang.org/x/sys/unix"

	"agentctl/runtime/image/internal/stream"
)

const mostFiles = 100_000

// archive is a bundle that is a tar file.
type archive struct {
	file  *os.File
	files map[string]member
}

// member is where a file of the archive is, or what it is a link to.
type member struct {
	offset, size int64
	link         string
}

// openArchive opens what docker save, or a tool that packs OCI layouts, wrote.
func (s *Store) openArchive(ctx context.Context, ref Reference) (source, error) {
	// A FIFO must not hang us.
	f, err := os.OpenFile(ref.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the archive: %w", err)
	}
	src, err := s.readArchive(ctx, f, ref.name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the archive %s: %w", ref.path, err)
	}
	return src, nil
}

// readArchive finds out what is in an archive. It owns f.
func (s *Store) readArchive(ctx context.Context, f *os.File, of string) (source, error) {
	src, err := archiveSource(ctx, f, of)
	if !errors.Is(err, errPacked) {
		return src, closing(f, err)
	}
	plain, err := s.spool(ctx, f)
	if err := closing(f, err); err != nil {
		return nil, err
	}
	_ = f.Close()
	src, err = archiveSource(ctx, plain, of)
	return src, closing(plain, err)
}

// closing closes a file that is of no use after a failure.
func closing(f *os.File, err error) error {
	if err != nil {
		_ = f.Close()
	}
	return err
}

var errPacked = errors.New("it is packed")

func archiveSource(ctx context.Context, f *os.File, of string) (source, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return nil, err
	}
	if packed, err := stream.Packed(f); err != nil || packed {
		return nil, errors.Join(err, lo.Ternary(packed, errPacked, nil))
	}
	a := &archive{file: f, files: map[string]member{}}
	if err := a.list(ctx); err != nil {
		return nil, err
	}
	if _, ok := a.files["index.json"]; ok {
		return &layout{in: a, name: of}, nil
	}
	return openDocker(ctx, a, of)
}

// spool unpacks an archive, or reads one that comes by a pipe, into a file without
// a name.
func (s *Store) spool(ctx context.Context, r io.Reader) (*os.File, error) {
	fd, err := unix.Open(s.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot make room for the archive: %w", err)
	}
	f := os.NewFile(uintptr(fd), "archive")
	plain, err := stream.Unpack(r, stream.Limits{Ratio: s.opts.Limits.Ratio, From: s.opts.Limits.From})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	defer func() { _ = plain.Close() }()
	n, err := io.Copy(f, io.LimitReader(ended{ctx, plain}, s.opts.Limits.Bytes+1))
	if err == nil && n > s.opts.Limits.Bytes {
		err = errors.New("it is too large")
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ended is a reader that ends with its context.
type ended struct {
	ctx context.Context
	r   io.Reader
}

func (e ended) Read(p []byte) (int, error) {
	if err := context.Cause(e.ctx); err != nil {
		return 0, err
	}
	return e.r.Read(p)
}

// list finds all files of the archive, the last one of a name.
func (a *archive) list(ctx context.Context) error {
	tr := tar.NewReader(a.file)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && n >= mostFiles {
			err = fmt.Errorf("it holds more than %d files", mostFiles)
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			// The reader reads no more than what it needs, so this is where the bytes begin.
			at, err := a.file.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			a.files[name] = member{offset: at, size: h.Size}
		case tar.TypeSymlink:
			a.files[name] = member{link: path.Join(path.Dir(name), h.Linkname)}
		case tar.TypeLink:
			a.files[name] = member{link: path.Clean(h.Linkname)}
		}
	}
}

// find follows links within the archive: docker save writes each layer once.
func (a *archive) find(name string) (member, error) {
	at := path.Clean(name)
	for range 8 {
		m, ok := a.files[at]
		if !ok {
			break
		}
		if m.link == "" {
			return m, nil
		}
		at = m.link
	}
	return member{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (a *archive) open(name string, offset int64) (io.ReadCloser, error) {
	m, err := a.find(name)
	if err != nil {
		return nil, err
	}
	if offset > m.size {
		return nil, io.ErrUnexpectedEOF
	}
	return io.NopCloser(io.NewSectionReader(a.file, m.offset+offset, m.size-offset)), nil
}

func (a *archive) close() error { return a.file.Close() }
