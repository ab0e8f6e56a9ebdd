package worker

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"agentctl/internal/fsx"
)

// local refuses what leads out of the code. A whole path is one of the host or the
// image: the task may go there, and the agent does not.
func (c *command) local() error {
	if strings.ContainsRune(c.Dir+c.File, 0) {
		return errors.New("cannot use the working folder and the entry point of the task: there is a zero byte in them")
	}
	if c.Literal == "" && path.IsAbs(c.Dir) {
		c.Dir, c.Whole = path.Clean(c.Dir), ""
		return nil
	}
	if _, err := fsx.SafeJoin("/", path.Clean(c.Dir)); err != nil {
		return fmt.Errorf("cannot use the working folder %q of the task: %w", c.Dir, err)
	}
	for _, file := range []string{c.File, c.LiteralFile} {
		if path.IsAbs(file) && c.Literal == "" {
			continue
		}
		if _, err := fsx.SafeJoin("/", path.Join(c.Dir, file)); err != nil {
			return fmt.Errorf("cannot use the entry point %q of the task: %w", file, err)
		}
	}
	return nil
}

// at is where a file of the task's code is, in a root of it; inside is false for one
// of the host or the image, which is none of the agent's to read.
func (c *command) at(file string) (name string, inside bool) {
	name = path.Join(c.Dir, file)
	return name, filepath.IsLocal(name) && !path.IsAbs(file)
}

// inside is the working folder as part of the code, its root if it is none.
func (c *command) inside() string {
	if path.IsAbs(c.Dir) {
		return "."
	}
	return c.Dir
}

// script is the file that is to be looked into: that of the literal text, else the
// one that is run.
func (c *command) script() string {
	if c.LiteralFile != "" {
		return c.LiteralFile
	}
	return c.File
}

// cwd is where the task runs, with its code at root.
func (c *command) cwd(root string) string {
	if path.IsAbs(c.Dir) {
		return c.Dir
	}
	return path.Join(root, c.Dir)
}

// folder is that of the file that is run.
func (c *command) folder(root string) string {
	if path.IsAbs(c.File) {
		return path.Dir(c.File)
	}
	return path.Dir(path.Join(c.cwd(root), c.File))
}

// settle decides between a file whose name has blanks and one with arguments, once it
// is known what is there.
func (c *command) settle(exists func(name string) bool) {
	name, inside := c.at(c.Whole)
	if c.File != "" && c.Whole != "" && inside && exists(name) {
		c.File, c.Args, c.Whole = c.Whole, nil, ""
	}
}
