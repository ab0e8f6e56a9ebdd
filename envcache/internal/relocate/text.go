package relocate

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// mostText is the size up to which a file counts as text.
const mostText = 64 << 20

// longestShebang is the longest first line that every kernel takes as it is
// (BINPRM_BUF_SIZE was 128 before Linux 5.1).
const longestShebang = 127

// text replaces the path in a file of text.
func (t *mover) text(f *os.File) error {
	data, err := io.ReadAll(io.LimitReader(f, mostText+1))
	if err != nil {
		return err
	}
	if len(data) > mostText {
		return errFixed
	}
	data = replace(data, t.Old, t.New)
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return err
}

// forgetBytecode removes what was compiled of a Python file.
func (t *mover) forgetBytecode(rel string) error {
	dir, stem := path.Dir(rel), strings.TrimSuffix(path.Base(rel), ".py")
	cache, err := t.root.OpenRoot(path.Join(dir, "__pycache__"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = cache.Close() }()
	files, err := fs.ReadDir(cache.FS(), ".")
	for _, f := range files {
		if strings.HasPrefix(f.Name(), stem+".") && strings.HasSuffix(f.Name(), ".pyc") {
			err = errors.Join(err, cache.Remove(f.Name()))
		}
	}
	return err
}

// replace changes a text that speaks of the old path.
func replace(data []byte, old, new string) []byte {
	data = bytes.ReplaceAll(data, []byte(old), []byte(new))
	line, rest, found := bytes.Cut(data, []byte("\n"))
	if !found || !bytes.HasPrefix(line, []byte("#!")) || !bytes.Contains(line, []byte(new)) {
		return data
	}
	return append([]byte(shebang(string(line), new)+"\n"), rest...)
}

// shebang gives a first line that the kernel understands: a path may have become
// too long for it, or have got blanks.
func shebang(line, prefix string) string {
	program, args := interpreter(line, prefix)
	if len(line) <= longestShebang && !strings.ContainsAny(program, " \t") {
		return line
	}
	name := path.Base(program)
	switch {
	case strings.HasPrefix(name, "python"):
		// As pip writes it: a line of sh that is a string in Python.
		return "#!/bin/sh\n'''exec' \"" + program + "\"" + args + " \"$0\" \"$@\"\n' '''"
	case args != "":
		return "#!/usr/bin/env -S " + name + args
	}
	return "#!/usr/bin/env " + name
}

// interpreter splits the first line of a script into the program, which is below
// prefix, and its arguments with a blank in front.
func interpreter(line, prefix string) (program, args string) {
	line = strings.TrimLeft(strings.TrimPrefix(line, "#!"), " \t")
	rest, ok := strings.CutPrefix(line, prefix)
	if !ok {
		prefix, rest = "", line
	}
	if i := strings.IndexAny(rest, " \t"); i >= 0 {
		rest, args = rest[:i], " "+strings.TrimSpace(rest[i:])
	}
	return prefix + rest, strings.TrimRight(args, " ")
}
