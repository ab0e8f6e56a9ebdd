package relocate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"agentctl/internal/tree"
)

// slot is what conda's record of a package says of one of its files: that the
// path of the environment was put in the place of a longer one.
type slot struct {
	length int // of the placeholder
	binary bool
}

// mostRecord is the size of the largest record of a package: that of a package
// with a hundred thousand files has some ten megabytes.
const mostRecord = 256 << 20

// placeholders reads conda's records. It gives nothing for what conda did not make.
func placeholders(root *os.Root) (map[string]slot, error) {
	files, err := fs.ReadDir(root.FS(), "conda-meta")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slots := map[string]slot{}
	for _, f := range files {
		if !f.Type().IsRegular() || path.Ext(f.Name()) != ".json" {
			continue
		}
		if err := packageSlots(root, "conda-meta/"+f.Name(), slots); err != nil {
			return nil, fmt.Errorf("cannot read what conda recorded in %s: %w", f.Name(), err)
		}
	}
	return slots, nil
}

func packageSlots(root *os.Root, name string, slots map[string]slot) error {
	f, err := tree.Node{Dir: root, Name: name, Rel: name}.Open()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var rec struct {
		Paths struct {
			Paths []struct {
				Path        string `json:"_path"`
				Placeholder string `json:"prefix_placeholder"`
				Mode        string `json:"file_mode"`
			} `json:"paths"`
		} `json:"paths_data"`
	}
	if err := json.NewDecoder(io.LimitReader(f, mostRecord)).Decode(&rec); err != nil {
		return err
	}
	for _, p := range rec.Paths.Paths {
		if p.Placeholder != "" && strings.HasPrefix(p.Placeholder, "/") {
			slots[path.Clean(p.Path)] = slot{len(p.Placeholder), p.Mode == "binary"}
		}
	}
	return nil
}

// longestString bounds a string in a program that holds a path.
const longestString = 1 << 20

// patch changes the strings of a program that hold the old path, in the way of
// conda: a string ends with a NUL and keeps its room, which is as large as the
// placeholder made it and is filled up with NULs.
func patch(f *os.File, at []int64, old, new []byte, placeholder int) error {
	end := int64(-1)
	for _, from := range at {
		if from < end {
			continue // in the string of the find before
		}
		text, room, err := cString(f, from)
		if err != nil {
			return err
		}
		n := bytes.Count(text, old)
		grows := n * (len(new) - len(old))
		// What follows the string beyond its room is somebody else's.
		room = min(room, n*max(0, placeholder-len(old)))
		if grows > room {
			return errFixed
		}
		out := bytes.ReplaceAll(text, old, new)
		out = append(out, make([]byte, max(0, -grows))...)
		if grows > 0 {
			out = append(out, 0) // the NUL that the string grew over
		}
		if _, err := f.WriteAt(out, from); err != nil {
			return err
		}
		end = from + int64(len(text))
	}
	return nil
}

// cString reads the string at an offset, and how many NULs follow the one that
// ends it.
func cString(f *os.File, from int64) (text []byte, room int, err error) {
	buf := make([]byte, 4096)
	for at := from; ; {
		n, err := f.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
		part, done := buf[:n], n < len(buf)
		if room == 0 {
			i := bytes.IndexByte(part, 0)
			if i < 0 {
				text = append(text, part...)
				if done || len(text) > longestString {
					return nil, 0, errFixed // no NUL to end it
				}
				at += int64(n)
				continue
			}
			text, part = append(text, part[:i]...), part[i:]
		}
		nuls := len(part) - len(bytes.TrimLeft(part, "\x00"))
		room += nuls
		if nuls < len(part) || done || room > longestString {
			return text, room - 1, nil
		}
		at += int64(n)
	}
}
