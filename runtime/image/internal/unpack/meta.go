package unpack

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	paxXattr   = "SCHILY.xattr."
	capability = "security.capability"
	special    = unix.S_ISUID | unix.S_ISGID | unix.S_ISVTX
	// unknownMode is one that nothing has.
	unknownMode = 1 << 31
)

// meta is what a file carries besides its bytes.
type meta struct {
	uid, gid int
	mode     uint32
	times    [2]unix.Timespec
	xattrs   []xattr
}

type xattr struct {
	name  string
	value []byte
}

// plain is the meta of a folder that the stream does not tell of.
func (o Options) plain() meta {
	return meta{uid: o.Shift, gid: o.Shift, mode: 0o755}
}

// metaOf reads a header; h may be nil.
func (o Options) metaOf(h *tar.Header) (meta, error) {
	if h == nil {
		return o.plain(), nil
	}
	m := meta{mode: uint32(h.Mode) & (special | 0o777)}
	for _, id := range []struct {
		to   *int
		what string
		have int
	}{{&m.uid, "user", h.Uid}, {&m.gid, "group", h.Gid}} {
		if id.have < 0 || int64(id.have)+int64(o.Shift) >= math.MaxUint32 || o.IDs > 0 && id.have >= o.IDs {
			return m, fmt.Errorf("it belongs to %s %d, which this host has no id for", id.what, id.have)
		}
		*id.to = id.have + o.Shift
	}
	at := unix.Timespec{Sec: h.ModTime.Unix(), Nsec: int64(h.ModTime.Nanosecond())}
	m.times = [2]unix.Timespec{at, at}
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok {
			continue
		}
		switch regular := h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse; {
		case name == capability && regular:
			if data := capabilityFor(o.Shift, value); data != nil {
				m.xattrs = append(m.xattrs, xattr{name, data})
			}
		// What means something to overlayfs is ours alone to say.
		case strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.") && (regular || h.Typeflag == tar.TypeDir):
			m.xattrs = append(m.xattrs, xattr{name, []byte(value)})
		}
	}
	return m, nil
}

// capabilityFor gives capabilities of a file the form in which they hold for the
// root of the range that begins at shift, and nowhere else; nil if they are none.
func capabilityFor(shift int, value string) []byte {
	const revision2, revision3, mask = 0x02000000, 0x03000000, 0xff000000
	data := []byte(value)
	if len(data) != 20 && len(data) != 24 {
		return nil
	}
	magic := binary.LittleEndian.Uint32(data)
	if rev := magic & mask; rev != revision2 && rev != revision3 || (rev == revision3) != (len(data) == 24) {
		return nil
	}
	data = data[:20:20]
	rev := uint32(revision2)
	if shift > 0 {
		rev = revision3
		data = binary.LittleEndian.AppendUint32(data, uint32(shift))
	}
	binary.LittleEndian.PutUint32(data, magic&^mask|rev)
	return data
}

// umask is what the kernel takes from the mode of a new file; all, if it can't be told.
var umask = sync.OnceValue(func() uint32 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0o777
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "Umask:"); ok {
			if n, err := strconv.ParseUint(strings.TrimSpace(text), 8, 32); err == nil {
				return uint32(n)
			}
		}
	}
	return 0o777
})

// dress gives an open file or folder its owner, mode, xattrs and times, in the order in
// which one does not undo the other. made is the mode it was made with.
func (o Options) dress(fd int, m meta, made uint32) error {
	if m.uid != os.Geteuid() || m.gid != os.Getegid() {
		if err := o.allowed(unix.Fchown(fd, m.uid, m.gid)); err != nil {
			return fmt.Errorf("cannot give it to %d:%d: %w", m.uid, m.gid, err)
		}
	}
	if m.mode != made&^umask() {
		if err := unix.Fchmod(fd, m.mode); err != nil {
			return fmt.Errorf("cannot set its mode: %w", err)
		}
	}
	for _, x := range m.xattrs {
		err := unix.Fsetxattr(fd, x.name, x.value, 0)
		// Docker, too, leaves out what the file system has no room or no way for.
		if err := o.allowed(err); err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("cannot set %s: %w", x.name, err)
		}
	}
	if err := unix.UtimesNanoAt(fd, "", m.times[:], unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("cannot set its time: %w", err)
	}
	return nil
}

// allowed takes a refusal for what an ordinary user without a range of ids can't do
// anyway. With one, wrong owners would be in the way of the sandbox.
func (o Options) allowed(err error) error {
	if o.Rootless && o.Shift == 0 && (errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EINVAL)) {
		return nil
	}
	return err
}

// dressName is dress for what can't be opened: links and FIFOs.
func (o Options) dressName(d *dir, name string, m meta) error {
	if m.uid != os.Geteuid() || m.gid != os.Getegid() {
		if err := o.allowed(unix.Fchownat(d.fd, name, m.uid, m.gid, unix.AT_SYMLINK_NOFOLLOW)); err != nil {
			return fmt.Errorf("cannot give it to %d:%d: %w", m.uid, m.gid, err)
		}
	}
	if err := unix.UtimesNanoAt(d.fd, name, m.times[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("cannot set its time: %w", err)
	}
	return nil
}
