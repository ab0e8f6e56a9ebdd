package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// SkipDir as the result of a visit leaves out what is below a folder.
var SkipDir = fs.SkipDir

// deepest is the depth at which a walk gives up: each level holds a descriptor.
const deepest = 200

// Node is one file, folder or link of a walk. Dir and Name are what the file
// may safely be touched by; both are valid during the visit only.
type Node struct {
	Dir  *os.Root
	Name string
	Rel  string // path from the top, with slashes; "." is the top
	Info fs.FileInfo
}

// Open opens a regular file for reading. It does not read what a link points
// to, and does not hang on a FIFO that took the file's place.
func (n Node) Open() (*os.File, error) {
	seen, err := n.Dir.Lstat(n.Name)
	if err != nil {
		return nil, err
	}
	f, err := n.Dir.OpenFile(n.Name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	// os.Root follows links inside itself, O_NOFOLLOW or not.
	info, err := f.Stat()
	if err == nil && !(info.Mode().IsRegular() && os.SameFile(seen, info)) {
		err = fmt.Errorf("%s is no regular file", n.Rel)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Walk visits everything in the folder top, top itself as ".", a folder before
// its content, names in order. leave, if not nil, is called for each folder
// after its content.
func Walk(top string, visit, leave func(Node) error) error {
	root, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	info, err := root.Lstat(".")
	if err != nil {
		return err
	}
	w := walker{visit, leave}
	return w.folder(Node{root, ".", ".", info}, root, 0)
}

type walker struct{ visit, leave func(Node) error }

// folder walks what is in root, which is the folder that n names.
func (w walker) folder(n Node, root *os.Root, depth int) error {
	if depth > deepest {
		return fmt.Errorf("%s is nested too deeply", n.Rel)
	}
	if err := w.visit(n); err != nil {
		if errors.Is(err, SkipDir) {
			return nil
		}
		return err
	}
	names, err := list(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := w.child(root, name, path.Join(n.Rel, name), depth); err != nil {
			return err
		}
	}
	if w.leave == nil {
		return nil
	}
	return w.leave(n)
}

func (w walker) child(dir *os.Root, name, rel string, depth int) error {
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it went away since the folder was listed
	}
	if err != nil {
		return err
	}
	n := Node{dir, name, rel, info}
	if !info.IsDir() {
		if err := w.visit(n); err != nil && !errors.Is(err, SkipDir) {
			return err
		}
		return nil
	}
	sub, err := dir.OpenRoot(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	return w.folder(n, sub, depth+1)
}

func list(root *os.Root) ([]string, error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	slices.SortFunc(names, strings.Compare)
	return names, nil
}
