package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"strings"
)

// hops bounds the links on the way to one entry, as the kernel does.
const hops = 40

type kind byte

const (
	folder kind = iota
	link
	other // a file, a FIFO, a hard link to something
)

// node is one thing in the folder, as far as it matters for what comes later.
type node struct {
	name   string
	up     *node // itself at the top
	kind   kind
	target string           // of a link
	kids   map[string]*node // of a folder
	gone   map[string]bool  // names in a folder that hide what is below
	opaque bool
	header *tar.Header // of a folder; nil if the stream does not tell
	open   *dir        // of a folder, while it is in the cache
}

func newTop() *node {
	n := &node{kind: folder}
	n.up = n
	return n
}

func (n *node) top() bool { return n.up == n }

// rel is the path from the top, "." at the top.
func (n *node) rel() string {
	if n.top() {
		return "."
	}
	var names []string
	for ; !n.top(); n = n.up {
		names = append(names, n.name)
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteString(names[i])
		if i > 0 {
			b.WriteByte('/')
		}
	}
	return b.String()
}

func (n *node) depth() (d int) {
	for ; !n.top(); n = n.up {
		d++
	}
	return d
}

// add puts a new thing into a folder.
func (n *node) add(name string, k kind) *node {
	kid := &node{name: name, up: n, kind: k}
	if n.kids == nil {
		n.kids = map[string]*node{}
	}
	n.kids[name] = kid
	return kid
}

var errOutside = errors.New("leads out of the layer")

// split cleans the path of an entry and cuts off its last name; "" is the top. A
// leading slash means nothing, as in Docker.
func split(name string, lim Limits) (parents []string, base string, err error) {
	if err := limit("bytes in a path", int64(len(name)), int64(lim.Path)); err != nil {
		return nil, "", err
	}
	if strings.ContainsRune(name, 0) {
		return nil, "", errors.New("its path holds a NUL")
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	switch {
	case clean == "." || name == "":
		return nil, "", nil
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return nil, "", errOutside
	}
	names := strings.Split(clean, "/")
	return names[:len(names)-1], names[len(names)-1], nil
}

// enter finds the folder that names lead to, from the folder at, as in a chroot
// whose root is the top. missing makes a folder that is not there.
func enter(at *node, names []string, missing func(in *node, name string) (*node, error)) (*node, error) {
	for n := 0; len(names) > 0; {
		name := names[0]
		names = names[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = at.up
			continue
		}
		kid := at.kids[name]
		if kid == nil {
			var err error
			if kid, err = missing(at, name); err != nil {
				return nil, err
			}
		}
		switch kid.kind {
		case folder:
			at = kid
		case link:
			if n++; n > hops {
				return nil, fmt.Errorf("too many links on the way, at %q", kid.rel())
			}
			if strings.HasPrefix(kid.target, "/") {
				for !at.top() {
					at = at.up
				}
			}
			names = append(strings.Split(kid.target, "/"), names...)
		default:
			return nil, fmt.Errorf("%q is no folder", kid.rel())
		}
	}
	return at, nil
}
