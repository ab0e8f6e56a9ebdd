package unpack

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// finish makes the marks of what is hidden and gives folders what they carry, those
// inside first: what is done in a folder changes its time, and may need rights that it
// won't have.
func (u *unpacker) finish(n *node) error {
	for _, kid := range n.kids {
		if kid.kind != folder {
			continue
		}
		kid.opaque = kid.opaque || n.gone[kid.name]
		if err := u.finish(kid); err != nil {
			return err
		}
	}
	if err := u.finishFolder(n); err != nil {
		return fmt.Errorf("cannot unpack %.300q: %w", n.rel(), err)
	}
	return nil
}

func (u *unpacker) finishFolder(n *node) error {
	fd, err := openDir(int(u.dirs.top.Fd()), n.rel(), unix.O_RDONLY)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer func() { _ = unix.Close(fd) }()
	for name := range n.gone {
		if n.kids[name] != nil {
			continue // of this layer
		}
		if err := unix.Mknodat(fd, name, unix.S_IFCHR, 0); err != nil {
			return fmt.Errorf("cannot mark %.300q as removed: %w", name, err)
		}
	}
	if n.opaque {
		name := "trusted.overlay.opaque"
		if u.opts.Rootless {
			name = "user.overlay.opaque"
		}
		if err := unix.Fsetxattr(fd, name, []byte("y"), 0); err != nil {
			return fmt.Errorf("cannot mark it as opaque: %w", err)
		}
	}
	m, err := u.opts.metaOf(n.header)
	if err != nil {
		return err
	}
	return u.opts.dress(fd, m, unknownMode)
}
