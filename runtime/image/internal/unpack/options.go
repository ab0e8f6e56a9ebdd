package unpack

import (
	"errors"
	"fmt"
	"io"
)

// Options say how a layer is unpacked.
type Options struct {
	// Shift is added to the user and group of each file.
	Shift int
	// IDs is the number of users and groups there are; 0: no bound. A file of another one
	// could not be used in a sandbox.
	IDs int
	// Rootless marks folders by xattrs that an ordinary user may set, and leaves files
	// to the user that unpacks, if that may not give them away.
	Rootless bool
	// Writers is the number of goroutines that write files; 0: four.
	Writers int
	Limits  Limits
	// Recipe, if not nil, gets what is needed besides the folder to write the stream again.
	Recipe io.Writer
}

// Limits of a layer; zero values don't limit.
type Limits struct {
	Bytes   int64 // of files, holes included, and of the stream itself
	Entries int
	Path    int // bytes of a path or of the target of a link
	Depth   int // folders within folders
}

// Result tells what a layer holds.
type Result struct {
	Bytes   int64
	Stream  int64 // bytes of the stream
	Entries int
	// Opaque means that nothing of the layers below is to be seen. Overlayfs does not
	// look for that at the top of a layer.
	Opaque bool
	// Dropped is the number of device nodes that were left out.
	Dropped int
	// Lost means that the layer held a file that something else in it replaced, so that its
	// stream can't be put together again.
	Lost bool
}

// ErrLimit means that a layer is larger than what is allowed.
var ErrLimit = errors.New("over the limit")

func limit(what string, have, max int64) error {
	if max > 0 && have > max {
		return fmt.Errorf("%w: more than %d %s", ErrLimit, max, what)
	}
	return nil
}
