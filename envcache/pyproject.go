package envcache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"
)

const (
	pyprojectFile = "pyproject.toml"
	mostPyproject = 1 << 20
)

// pyproject is what a pyproject.toml says. A repository wrote it: what is not of
// the kind that is asked for counts as missing.
type pyproject map[string]any

// readPyproject reads the pyproject.toml in a folder of a repository.
func readPyproject(root *os.Root, dir string) (pyproject, []byte, error) {
	data, err := readLimited(root, filepath.Join(dir, pyprojectFile), mostPyproject)
	if err != nil {
		return nil, nil, err
	}
	var p pyproject
	if err := toml.Unmarshal(data, &p); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, column := at.Position()
			return nil, nil, fmt.Errorf("%s is not valid: line %d, column %d: %s", filepath.Join(dir, pyprojectFile), line, column, shorten(err.Error()))
		}
		return nil, nil, fmt.Errorf("%s is not valid: %s", filepath.Join(dir, pyprojectFile), shorten(err.Error()))
	}
	return p, data, nil
}

// readLimited reads a regular file of a repository, if it is no longer than most.
// A FIFO in its place must not hold the agent up.
func readLimited(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("it is no regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("it is longer than %d bytes", most)}
	}
	return data, err
}

// at is the value below a path of keys, or nil.
func (p pyproject) at(path ...string) any {
	var v any = map[string]any(p)
	for _, key := range path {
		table, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = table[key]
	}
	return v
}

func (p pyproject) table(path ...string) map[string]any {
	t, _ := p.at(path...).(map[string]any)
	return t
}

func (p pyproject) text(path ...string) string {
	s, _ := p.at(path...).(string)
	return s
}

// texts are the strings of a list.
func (p pyproject) texts(path ...string) []string {
	list, _ := p.at(path...).([]any)
	return ofType[string](list)
}

// tables are the tables of a list.
func (p pyproject) tables(path ...string) []map[string]any {
	list, _ := p.at(path...).([]any)
	return ofType[map[string]any](list)
}

func ofType[T any](list []any) []T {
	var out []T
	for _, v := range list {
		if t, ok := v.(T); ok {
			out = append(out, t)
		}
	}
	return out
}
