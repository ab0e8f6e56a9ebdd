package source

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/samber/lo"

	"agentctl/spec"
)

// maxFiles bounds the specs of a folder.
const maxFiles = 500

// isSpec tells a spec from what editors and Kubernetes leave beside it: names with a
// dot first are not for us, and what an editor keeps has another ending.
func isSpec(name string) bool {
	return !strings.HasPrefix(name, ".") && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name))
}

func isFolder(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// specsIn lists the specs of a folder, by name.
func specsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	return lo.FilterMap(entries, func(e os.DirEntry, _ int) (string, bool) {
		path := filepath.Join(dir, e.Name())
		return path, isSpec(e.Name()) && !isFolder(path)
	}), nil
}

// readFolder reads all specs of a folder as one state of it: it is torn if it looks
// different when the last file was read.
func readFolder(dir string) reading {
	fail := func(reason, format string, args ...any) reading {
		return reading{err: &ReadError{reason: reason, err: fmt.Errorf("cannot read the spec: "+format, args...)}}
	}
	before, err := specsIn(dir)
	switch {
	case err != nil && !isFolder(dir):
		return fail("Missing", "the folder %s is not there", dir)
	case err != nil:
		return fail("Unreadable", "%w", err)
	case len(before) == 0:
		return fail("Missing", "there is no .yaml or .yml file in the folder %s", dir)
	case len(before) > maxFiles:
		return fail("TooLarge", "the folder %s has more than %d files", dir, maxFiles)
	}
	was := looks(before)
	var files []spec.File
	out, size := reading{}, 0
	for i, path := range before {
		r := readFile(path)
		if r.err != nil {
			return r
		}
		files = append(files, spec.File{Name: path, Text: r.text})
		out.torn = out.torn || r.torn || !was[i].same(lookOf(r.fi))
		if r.modified.After(out.modified) {
			out.modified = r.modified
		}
		if size += len(r.text); size > spec.MaxSize {
			return fail("TooLarge", "the files in %s are larger than %s together", dir, spec.Size(spec.MaxSize))
		}
	}
	after, err := specsIn(dir)
	out.torn = out.torn || err != nil || !slices.Equal(before, after) || !slices.EqualFunc(was, looks(after), look.same)
	out.text = spec.Join(files)
	return out
}

// look is what tells one state of a file from another without reading it.
type look struct {
	fi   os.FileInfo
	size int64
	time time.Time
}

func looks(paths []string) []look {
	return lo.Map(paths, func(path string, _ int) look {
		fi, err := os.Stat(path)
		if err != nil {
			return look{}
		}
		return lookOf(fi)
	})
}

func lookOf(fi os.FileInfo) look { return look{fi, fi.Size(), fi.ModTime()} }

func (l look) same(o look) bool {
	return l.fi != nil && o.fi != nil && os.SameFile(l.fi, o.fi) && l.size == o.size && l.time.Equal(o.time)
}

// foldersOf lists what must be watched for a folder: what leads to it, itself, and
// what each file of it leads through.
func foldersOf(dir string) []string {
	out := folders(filepath.Join(dir, "node.yaml")) // any name: also of a file that is yet to come
	paths, _ := specsIn(dir)
	for _, path := range paths {
		out = append(out, folders(path)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
