package source

import (
	"errors"
	"io"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"agentctl/spec"
)

// textOf reads the file or the folder at the path of a commit, out of its objects
// alone: no file of it ever comes to be, so that none can lead anywhere.
func textOf(st storer.EncodedObjectStorer, c *object.Commit, at string) ([]byte, error) {
	tree, err := object.GetTree(st, c.TreeHash)
	if err != nil {
		return nil, damaged(err)
	}
	if at == "." {
		return folderOf(st, tree, at)
	}
	parts := strings.Split(at, "/")
	for i, name := range parts {
		e, ok := entryOf(tree, name)
		here := strings.Join(parts[:i+1], "/")
		switch last := i == len(parts)-1; {
		case !ok:
			return nil, gitError("PathNotFound", "there is no %s in it", here)
		case e.Mode == filemode.Dir:
			if tree, err = object.GetTree(st, e.Hash); err != nil {
				return nil, damaged(err)
			}
			if last {
				return folderOf(st, tree, at)
			}
		case !last || !isFile(e):
			return nil, gitError("NotAFile", "%s is a %s", here, kindOfEntry(e))
		default:
			return blobOf(st, e.Hash, here, spec.MaxSize)
		}
	}
	return nil, gitError("PathNotFound", "there is no %s in it", at)
}

// folderOf reads all specs of a folder. A link among them is refused, not passed
// over: whoever made it meant it to be read.
func folderOf(st storer.EncodedObjectStorer, tree *object.Tree, at string) ([]byte, error) {
	var files []spec.File
	left := int64(spec.MaxSize)
	for _, e := range tree.Entries { // sorted by git
		name := path.Join(at, e.Name)
		if !isSpec(e.Name) || e.Mode == filemode.Dir {
			continue
		}
		if !isFile(&e) {
			return nil, gitError("NotAFile", "%s is a %s", plain(name), kindOfEntry(&e))
		}
		text, err := blobOf(st, e.Hash, name, left)
		if err != nil {
			return nil, err
		}
		files = append(files, spec.File{Name: name, Text: text})
		left -= int64(len(text))
	}
	if len(files) == 0 {
		return nil, gitError("PathNotFound", "there is no .yaml or .yml file in the folder %s", at)
	}
	return spec.Join(files), nil
}

// blobOf reads a file, whose size is known before it is unpacked.
func blobOf(st storer.EncodedObjectStorer, hash plumbing.Hash, name string, most int64) ([]byte, error) {
	blob, err := object.GetBlob(st, hash)
	if err != nil {
		return nil, damaged(err)
	}
	if blob.Size > most {
		return nil, gitError("TooLarge", "%s is larger than %s, or all files are", plain(name), spec.Size(spec.MaxSize))
	}
	r, err := blob.Reader()
	if err != nil {
		return nil, damaged(err)
	}
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, damaged(err)
	}
	return text, nil
}

func entryOf(tree *object.Tree, name string) (*object.TreeEntry, bool) {
	for i := range tree.Entries {
		if tree.Entries[i].Name == name {
			return &tree.Entries[i], true
		}
	}
	return nil, false
}

func isFile(e *object.TreeEntry) bool {
	return e.Mode == filemode.Regular || e.Mode == filemode.Executable || e.Mode == filemode.Deprecated
}

func kindOfEntry(e *object.TreeEntry) string {
	switch e.Mode {
	case filemode.Dir:
		return "folder"
	case filemode.Symlink:
		return "symbolic link, which is not followed"
	case filemode.Submodule:
		return "submodule, which is not followed"
	}
	return "file, not a folder"
}
