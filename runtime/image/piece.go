package image

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"agentctl/internal/tree"
)

// pack writes the piece as the archive of a layer, with the owners that it has inside.
func (p Piece) pack(ctx context.Context, w io.Writer) error {
	t := tar.NewWriter(w)
	err := tree.Walk(p.Folder, func(n tree.Node) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return p.add(t, n)
	}, nil)
	if err != nil {
		return err
	}
	return t.Close()
}

func (p Piece) add(t *tar.Writer, n tree.Node) error {
	kind := n.Info.Mode().Type()
	if kind != 0 && kind != os.ModeDir && kind != os.ModeSymlink {
		return nil // sockets and pipes are somebody's who is gone
	}
	link := ""
	if kind == os.ModeSymlink {
		var err error
		if link, err = n.Dir.Readlink(n.Name); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(n.Info, link)
	if err != nil {
		return err
	}
	h.Name = strings.TrimPrefix(path.Join(p.At, n.Rel), "/")
	if n.Info.IsDir() {
		h.Name += "/"
	}
	h.Uid, h.Gid = p.inside(h.Uid), p.inside(h.Gid)
	// Names of this host, and times that differ from one look to the next.
	h.Uname, h.Gname, h.AccessTime, h.ChangeTime, h.Format = "", "", time.Time{}, time.Time{}, tar.FormatPAX
	if kind != 0 {
		return t.WriteHeader(h)
	}
	f, err := n.Open()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(t, f, h.Size)
	return err
}

func (p Piece) inside(id int) int {
	if n := id - p.Base; n >= 0 && n < p.Size {
		return n
	}
	return 0
}
