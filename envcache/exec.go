package envcache

import (
	"context"
	"io"
	"os"
)

// SameUser as a UID or GID means the user of this process. A process that is
// not root can be nobody else: there, every id means it.
const SameUser = -1

// Cmd is one program to run.
type Cmd struct {
	Args     []string // Args[0] is the program's path or a name that is in Env's PATH
	Env      []string // the whole environment: nothing is inherited
	Dir      string
	UID, GID int // SameUser: as this process
	Stdin    io.Reader
	Stdout   io.Writer // nil: thrown away
	Stderr   io.Writer
	Files    []*os.File // descriptors 3, 4, … of the program
	// Writes and Reads are what the program needs of the state folder, for an Exec
	// that shows nothing else of it. They exist.
	Writes, Reads []string
	// Covers are folders that the program sees and may write to as well, but what it writes
	// goes elsewhere.
	Covers []Cover
	// Nice: as little CPU, I/O and memory as can be where others want them, and a
	// session of its own, until Lift is closed. The program is not run if its
	// priority can't be lowered.
	Nice bool
	Lift <-chan struct{}
	// host: of a build for another root, what runs on the host's own file system.
	host bool
}

// Cover is a folder that stays as it is: what is written to it is found in Upper/upper.
type Cover struct{ Folder, Upper string }

// Exit is how a program ended.
type Exit struct {
	Code   int    // exit status; -1 when a signal ended it
	Signal string // as "killed"; empty when it exited by itself
}

// Exec runs programs to their end. The error tells that the program could not
// be started or that ctx ended it; a program that fails has an Exit and no
// error.
type Exec interface {
	Run(ctx context.Context, c Cmd) (Exit, error)
}
