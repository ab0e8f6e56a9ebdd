package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/runtime"
	"agentctl/spec"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// Image is the root file system of a sandbox. It stays as long as its lease is held.
type Image struct {
	// Ref is the name it was asked for by, Digest that of its manifest; "" for the host.
	Ref, Digest string
	// ID is Digest with what was put on top of the image.
	ID string
	// Layers are the folders of its layers, topmost first; none for the host's own root.
	Layers []string
	// Env, User and StopSignal are what the image says of its programs.
	Env  []string
	User string
	// Shifted tells that the layers are stored with owners of the range of ids.
	Shifted    bool
	StopSignal string
	// Leases hold it; none for the host.
	Leases []*os.File
	Close  func() error
}

// Layer is one that was added to an image on this host.
type Layer struct {
	Folder string
	Bytes  int64 // of its files
	Hit    bool
	Lease  *os.File
	Close  func() error
}

// put puts a layer on top of the image's others; what tells it from others.
func (i *Image) put(l *Layer, what string) {
	i.ID += " and " + what
	i.cover(l)
}

// cover is put with a layer that leaves the image what it was.
func (i *Image) cover(l *Layer) {
	i.Layers, i.Leases = append([]string{l.Folder}, i.Layers...), append(i.Leases, l.Lease)
	closeImage := i.Close
	i.Close = func() error { return errors.Join(l.Close(), closeImage()) }
}

// has tells whether there is a file of that name in one of the image's layers.
func (i *Image) has(name string) bool {
	return slices.ContainsFunc(i.Layers, func(layer string) bool {
		root, err := os.OpenRoot(layer) // a link of the image's must not be followed into the host
		if err != nil {
			return false
		}
		defer func() { _ = root.Close() }()
		_, err = root.Lstat(strings.TrimPrefix(name, "/"))
		return err == nil
	})
}

// Images is where sandboxes have their images from.
type Images interface {
	// Acquire leases an image, pulling it if need be.
	Acquire(ctx context.Context, ref string, s spec.Sandbox, say func(text string, done, total int64)) (*Image, error)
	// Add leases a layer that is made on this host, on top of those of an image: what
	// tells which, make has a sandbox leave in dir what it writes, and holds lock.
	Add(ctx context.Context, i *Image, s spec.Sandbox, ids runtime.IDRange, what string, waiting func(), make func(ctx context.Context, dir string, lock *os.File) error) (*Layer, error)
	// Collect removes images beyond the limits of s, and tells how many and their bytes.
	// minFree is what holds where s names no free space.
	Collect(ctx context.Context, s spec.Sandbox, minFree int64) (removed int, freed int64, err error)
}

// mostUsers bounds what is read of the users of an image.
const mostUsers = 1 << 20

// userOf finds the user that a task runs as inside of an image: the one that is
// wanted, else the image's, else root.
func (i *Image) userOf(want string) (*user.ExecUser, error) {
	if want == "" {
		want = i.User
	}
	if len(i.Layers) == 0 && want == "" {
		want = "0"
	}
	passwd, group := i.open("etc/passwd"), i.open("etc/group")
	defer func() { _, _ = passwd.Close(), group.Close() }()
	u, err := user.GetExecUser(want, nil, io.LimitReader(passwd, mostUsers), io.LimitReader(group, mostUsers))
	if err != nil {
		return nil, fmt.Errorf("cannot run as %.100q in the image %.200q: %w; write a user that it has, or a number", want, i.Ref, err)
	}
	return u, nil
}

// groupsOf finds groups by the image's names for them, or by number.
func (i *Image) groupsOf(names []string) ([]int, error) {
	if len(names) == 0 {
		return nil, nil
	}
	group := i.open("etc/group")
	defer func() { _ = group.Close() }()
	ids, err := user.GetAdditionalGroups(names, io.LimitReader(group, mostUsers))
	if err != nil {
		return nil, fmt.Errorf("cannot add groups in the image %.200q: %w; write groups that it has, or numbers", i.Ref, err)
	}
	return ids, nil
}

// open opens a file of the image; an empty one if there is none. No link is
// followed out of its layer.
func (i *Image) open(name string) io.ReadCloser {
	for _, layer := range i.Layers {
		root, err := os.OpenRoot(layer)
		if err != nil {
			continue
		}
		f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO does not hold us up
		_ = root.Close()
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return f
		}
		_ = f.Close()
	}
	return io.NopCloser(strings.NewReader(""))
}

// shell is what runs setup scripts: they are written for bash, where there is one.
func (i *Image) shell() string {
	for _, layer := range i.Layers {
		for _, bash := range []string{"bin/bash", "usr/bin/bash"} {
			if info, err := os.Lstat(filepath.Join(layer, bash)); err == nil && info.Mode().IsRegular() {
				return "/" + bash
			}
		}
	}
	if len(i.Layers) == 0 && exists("/bin/bash") {
		return "/bin/bash"
	}
	return "/bin/sh"
}
