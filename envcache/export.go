package envcache

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/samber/lo"

	"agentctl/internal/shelf"
	"agentctl/internal/tree"
)

// Exported tells what went into an archive.
type Exported struct {
	Key   string
	Files int
	Bytes int64 // of the files
	// Tool tells that the private pip is in it, so that the other host needs no
	// index to use the environment.
	Tool bool
}

// Export writes an archive of the environment whose key, or beginning of a key,
// is given. What of it is not as it was built fails the export with a *Changed.
func (c *Cache) Export(ctx context.Context, key string, w io.Writer) (Exported, error) {
	e, err := c.Find(key)
	if err != nil {
		return Exported{}, err
	}
	held, err := c.hold(ctx, e.Key)
	if e.Dirty {
		err = errors.New("it was found changed")
	}
	if err != nil {
		return Exported{}, fmt.Errorf("cannot export the environment %s: %w", e.Key, err)
	}
	defer func() { _ = held.Close() }()
	done, err := c.export(ctx, held, w)
	if err != nil {
		return Exported{}, fmt.Errorf("cannot export the environment %s: %w", e.Key, err)
	}
	return done, nil
}

// hold leases an environment that somebody names. One in doubt is examined first.
func (c *Cache) hold(ctx context.Context, key string) (*shelf.Lease[record], error) {
	held, err := c.shelf.Peek(key)
	if errors.Is(err, shelf.ErrDoubt) {
		if err = c.examine(ctx, key, func(string) {}); err == nil {
			held, err = c.shelf.Peek(key)
		}
	}
	if err != nil {
		return nil, notHeld(err)
	}
	return held, nil
}

func (c *Cache) export(ctx context.Context, held *shelf.Lease[record], w io.Writer) (Exported, error) {
	m, err := c.manifest(held.Key)
	if err != nil {
		return Exported{}, err
	}
	pass, tool, err := c.passport(ctx, held)
	if err != nil {
		return Exported{}, err
	}
	head, err := json.MarshalIndent(pass, "", "  ")
	if err != nil {
		return Exported{}, err
	}
	z, err := zstd.NewWriter(w)
	if err != nil {
		return Exported{}, err
	}
	out := tar.NewWriter(z)
	entries := []toolFile{{passportName, head}, {manifestName, m.text()}}
	for _, f := range tool {
		entries = append(entries, toolFile{toolFolder + f.name, f.data})
	}
	for _, f := range entries {
		err = errors.Join(err, out.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data)), Typeflag: tar.TypeReg, ModTime: held.Created}))
		if err == nil {
			_, err = out.Write(f.data)
		}
	}
	if err == nil {
		err = m.pack(ctx, out, held.Path)
	}
	if err != nil {
		// Without its end nobody takes what was written for whole.
		z.Reset(nil)
		return Exported{}, err
	}
	if err := errors.Join(out.Close(), z.Close()); err != nil {
		return Exported{}, err
	}
	return Exported{held.Key, len(m), m.bytes(), pass.Tool != ""}, nil
}

// manifest reads the manifest of an environment.
func (c *Cache) manifest(key string) (manifest, error) {
	f, err := os.Open(filepath.Join(c.shelf.Dir(), key+manifestSuffix))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readManifest(f)
}

// passport describes an environment to another host. It gives the files of the
// private pip too, if that is what the environment uses.
func (c *Cache) passport(ctx context.Context, held *shelf.Lease[record]) (passport, []toolFile, error) {
	host := hostPipSettings(c.opts.Getenv)
	p := passport{
		Format: archiveFormat, Key: held.Key, Path: held.Path, Created: held.Created, Record: held.Entry,
		Index: plainIndex(host.index, 0), Extra: lo.Map(host.extra, plainIndex),
	}
	if valueOf(p.Record.Parts, systemPart) == "true" {
		p.System = distributions(stamped(p.Record.Parts))
	}
	py, ok := builtWith(p.Record.Parts)
	if !ok {
		// The interpreter is a package, and the parts say nothing of this host.
		info, err := os.Lstat(held.Path)
		if err != nil {
			return passport{}, nil, err
		}
		uid, gid := tree.Owner(info)
		if py, err = c.tools.finder.probes.ask(ctx, filepath.Join(held.Path, "bin", "python"), uid, gid); err != nil {
			return passport{}, nil, fmt.Errorf("its Python can't be asked: %w", err)
		}
	}
	p.Needs = needsOf(py, !ok)
	tool, err := c.tools.pinned(p.Record.Reads)
	if err != nil || tool == nil {
		return p, nil, err
	}
	p.Tool, p.ToolFiles = "pip-"+pipVersion, len(tool)
	return p, tool, nil
}
