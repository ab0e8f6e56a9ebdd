package worker

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"agentctl/runtime"

	"golang.org/x/sys/unix"
)

// entry readies the file that the task begins with, in the task's own view of its
// code.
func (r *run) entry(cfg *runtime.Config, p *prepared, root string) error {
	view, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("cannot read the task's code: %w", err)
	}
	defer func() { _ = view.Close() }()
	text, left, err := p.cmd.ready(view)
	if left > 0 {
		r.say("WARNING: %d lines of the notebook are for IPython alone and are left out: magics, shell commands and help", left)
	}
	if err != nil || text == "" {
		return err
	}
	name, _ := p.cmd.at(p.cmd.script())
	return r.put(cfg, p, view, root, name, text)
}

// ready settles what the task begins with, its code being in view (nil: it has none),
// and gives the text of that file if it is another than what is there: that of a
// script, of a notebook as a program, or one that the SDK put two lines before. left
// counts the lines of a notebook that a program can't have.
func (c *command) ready(view *os.Root) (text string, left int, err error) {
	exists := isFile(view)
	c.settle(exists)
	name, inside := c.at(c.script())
	if c.script() == "" || !inside {
		return "", 0, nil
	}
	text, there, err := readScript(view, name)
	if err != nil || !there && c.Literal == "" {
		return "", 0, err
	}
	if !there {
		text = c.Literal
	}
	text, changed, left, err := c.translate(text, exists)
	if err != nil {
		return "", 0, fmt.Errorf("cannot run %s: %w", name, err)
	}
	if there && !changed {
		return "", 0, nil
	}
	return text, left, nil
}

// translate makes a program of what the task begins with, and names it.
func (c *command) translate(text string, exists func(string) bool) (out string, changed bool, left int, err error) {
	if c.Shell != "" {
		return text, false, 0, nil
	}
	bare, notebook := strings.CutSuffix(c.script(), ".ipynb")
	if !notebook {
		out, changed = afterFuture(text)
		return out, changed, 0, nil
	}
	file := bare + ".py"
	if name, _ := c.at(file); exists(name) {
		file = c.script() + ".py" // a module of that name is none to lose
	}
	if c.File == c.script() {
		c.File = file
	}
	if c.LiteralFile != "" {
		c.LiteralFile = file
	}
	if c.Literal != "" && !isNotebook([]byte(text)) { // the SDK has converted it
		return text, true, 0, nil
	}
	out, left, err = program([]byte(text))
	return out, true, left, err
}

// isFile tells of what lies below a folder; nil holds nothing.
func isFile(root *os.Root) func(name string) bool {
	return func(name string) bool {
		if root == nil {
			return false
		}
		info, err := root.Stat(name)
		return err == nil && info.Mode().IsRegular()
	}
}

// readScript reads a file that is to be looked into; one that is none, or too large
// for a script, is there and is left as it is.
func readScript(root *os.Root, name string) (text string, there bool, err error) {
	if root == nil {
		return "", false, nil
	}
	if _, err := root.Lstat(name); err != nil {
		return "", false, nil // not there
	}
	most := int64(mostScript)
	if path.Ext(name) == ".ipynb" {
		most = mostNotebook
	} else if path.Ext(name) != ".py" {
		return "", true, nil
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", true, nil // Python says so on the task's own console
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		return "", true, nil // as above
	case info.Size() > most && path.Ext(name) == ".ipynb":
		return "", true, fmt.Errorf("cannot run the notebook %s: it is larger than %d MiB", name, mostNotebook>>20)
	case info.Size() > most:
		return "", true, nil
	}
	data, err := io.ReadAll(io.LimitReader(f, most))
	return string(data), true, err
}

// put writes a file of the task's own view of its code. Under an overlay it goes to
// the upper folder, so that the shared checkout is not touched.
func (r *run) put(cfg *runtime.Config, p *prepared, view *os.Root, root, name, text string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		// In the upper folder a folder of that name would take the link's place.
		if info, err := view.Lstat(dir); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return fmt.Errorf("cannot write the task's script %s: %s is a link", name, dir)
		}
	}
	at := root
	for _, o := range cfg.Overlays {
		if o.Target != root || o.Upper == "" {
			continue
		}
		at = o.UpperDir()
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := p.owner.chown(at); err != nil {
			return err
		}
	}
	return writeScript(at, name, text, p.owner)
}

// writeScript writes a file below root. Every path goes through os.Root: the
// repository may hold a symbolic link that leads out.
func writeScript(root, name, text string, owner identity) error {
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("cannot write the task's script: %w", err)
	}
	defer func() { _ = r.Close() }()
	if err := r.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("cannot write the task's script: %w", err)
	}
	_ = r.Remove(name) // a copy of a checkout may not be written to
	if err := r.WriteFile(name, []byte(text), 0o644); err != nil {
		return fmt.Errorf("cannot write the task's script: %w", err)
	}
	uid, gid := owner.files()
	if uid < 0 {
		return nil
	}
	for p := name; p != "."; p = filepath.Dir(p) {
		if err := r.Lchown(p, uid, gid); err != nil {
			return fmt.Errorf("cannot write the task's script: %w", err)
		}
	}
	return nil
}
