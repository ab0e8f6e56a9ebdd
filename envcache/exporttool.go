package envcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/internal/tree"
)

// pipTree is the digest of all files of the pinned pip, without bytecode. Builds
// run pip, some of them as the agent itself, so that one from an archive must be
// known as well as one from an index.
const pipTree = "8c2808487d5075125977301a9a8717ff04f5bebf3824b1a6a55bf61bd635b5ec"

const (
	mostToolFiles = 5000
	mostTool      = 64 << 20 // bytes of all its files
)

// toolFile is a small file of an archive.
type toolFile struct {
	name string
	data []byte
}

// digestTool is the digest of a tool's files, in whatever order.
func digestTool(files []toolFile) string {
	lines := lo.Map(files, func(f toolFile, _ int) string { return fmt.Sprintf("%x  %s\n", sha256.Sum256(f.data), f.name) })
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:])
}

// pinned reads the pinned pip if it is one of the folders; nil if it is not, or
// is not as it was released.
func (t *pipTools) pinned(reads []string) ([]toolFile, error) {
	dir := filepath.Join(t.dir, "pip-"+pipVersion)
	if !slices.Contains(reads, dir) {
		return nil, nil
	}
	files, err := readTool(dir)
	if err != nil || digestTool(files) != pipTree {
		return nil, err
	}
	return files, nil
}

func readTool(dir string) ([]toolFile, error) {
	var files []toolFile
	left := int64(mostTool)
	err := tree.Walk(dir, func(n tree.Node) error {
		switch {
		case n.Info.IsDir() && n.Name == "__pycache__":
			return tree.SkipDir
		case n.Info.IsDir(), strings.HasPrefix(n.Rel, ".compiled-"):
			return nil
		}
		if left -= n.Info.Size(); left < 0 || len(files) == mostToolFiles {
			return errors.New("the private pip is too large")
		}
		data, err := n.Dir.ReadFile(n.Name)
		files = append(files, toolFile{n.Rel, data})
		return err
	}, nil)
	return files, err
}

// takeTool reads the private pip out of an archive, and puts it where it belongs
// if it is not there yet.
func (a *archiveReader) takeTool(ctx context.Context, t *pipTools) error {
	files := make([]toolFile, 0, a.ToolFiles)
	left := int64(mostTool)
	for range a.ToolFiles {
		h, err := a.tar.Next()
		if err != nil {
			return err
		}
		rel, ok := strings.CutPrefix(h.Name, toolFolder)
		if left -= h.Size; !ok || h.Typeflag != '0' || !filepath.IsLocal(rel) || path.Clean(rel) != rel || left < 0 {
			return fmt.Errorf("the archive holds %q, which is no file of a pip", shorten(h.Name))
		}
		data, err := a.take(h.Size, mostTool)
		if err != nil {
			return err
		}
		files = append(files, toolFile{rel, data})
	}
	if a.Tool != "pip-"+pipVersion || isDir(filepath.Join(t.dir, a.Tool)) {
		return nil // of another release of agentctl, or not needed
	}
	if digestTool(files) != pipTree {
		return errors.New("the pip in the archive is not the one that was released")
	}
	return t.once(ctx, filepath.Join(t.dir, a.Tool), func(tmp string) error {
		root, err := os.OpenRoot(tmp)
		if err != nil {
			return err
		}
		defer func() { _ = root.Close() }()
		for _, f := range files {
			err := root.MkdirAll(path.Dir(f.name), 0o755)
			if err == nil {
				err = root.WriteFile(f.name, f.data, 0o644)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// stamped are the folders of the interpreter's own packages, as a key names them.
func stamped(parts []Part) []string {
	p, _ := lo.Find(parts, func(p Part) bool { return p.Name == systemChangedPart })
	return lo.FilterMap(p.Lines, func(l string, _ int) (string, bool) {
		i := strings.LastIndex(l, " ")
		return l[:max(i, 0)], i > 0
	})
}

// distributions names the packages in folders, as "six-1.16.0".
func distributions(dirs []string) []string {
	var names []string
	for _, dir := range dirs {
		files, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, f := range files {
			if name, ok := strings.CutSuffix(f.Name(), ".dist-info"); ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
