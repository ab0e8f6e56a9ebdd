package envcache

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// An archive is a tar file, compressed by zstd:
//
//	environment.json   the passport
//	manifest           every file of the environment with its digest
//	tool/…             the private pip that the environment uses, if it does
//	files/…            the environment, in the order of the manifest
//
// Modes and times come from the manifest: tar would round the times, or need an
// entry more for each file.
const (
	archiveFormat = 1
	passportName  = "environment.json"
	manifestName  = "manifest"
	toolFolder    = "tool/"
	filesFolder   = "files/"
)

// Limits of what is read of an archive before its files.
const (
	mostPassport = 64 << 20
	mostManifest = 512 << 20
	mostItems    = 4 << 20
	mostWindow   = 64 << 20 // of zstd
	deepestItem  = 100
)

// passport is what an archive says of its environment.
type passport struct {
	Format  int       `json:"format"`
	Key     string    `json:"key"`
	Path    string    `json:"path"` // where it was made
	Created time.Time `json:"created"`
	Record  record    `json:"record"`
	Needs   needs     `json:"needs"`
	// Index and Extra are where pip looks on the host that the environment comes
	// from, when a request names no index.
	Index string   `json:"index,omitempty"`
	Extra []string `json:"extra,omitempty"`
	// System are the packages of the interpreter itself that the environment shows.
	System []string `json:"system,omitempty"`
	// Tool is the private pip that is in the archive.
	Tool      string `json:"tool,omitempty"`
	ToolFiles int    `json:"toolFiles,omitempty"`
}

// check tells whether the passport is one, before anything is taken from it.
func (p passport) check() error {
	switch {
	case p.Format != archiveFormat:
		return fmt.Errorf("its format is %d, and this agentctl reads %d", p.Format, archiveFormat)
	case !keyShape.MatchString(p.Key) || filepath.Base(p.Path) != p.Key || filepath.Clean(p.Path) != p.Path || !filepath.IsAbs(p.Path):
		return errors.New("it names no environment")
	case p.ToolFiles < 0 || p.ToolFiles > mostToolFiles || (p.Tool == "") != (p.ToolFiles == 0):
		return errors.New("it names no pip")
	}
	if built := valueOf(p.Record.Parts, "schema"); built != schema {
		return fmt.Errorf("it was built by an agentctl with other rules (%q, here %q)", shorten(built), schema)
	}
	return nil
}

var (
	keyShape    = regexp.MustCompile(`^[0-9a-f]{32}$`)
	digestShape = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// check tells whether a manifest that came from elsewhere can be laid out below a
// folder: every name is a way down that was listed before.
func (m manifest) check() error {
	if len(m) == 0 || m[0].path != "." || m[0].kind != 'd' || len(m) > mostItems {
		return errors.New("its manifest is not that of a folder")
	}
	folders, seen := map[string]bool{}, map[string]bool{}
	total := int64(0)
	for i, it := range m {
		clean := it.path == path.Clean(it.path) && filepath.IsLocal(it.path) && !strings.ContainsRune(it.path, 0)
		switch {
		case !clean || seen[it.path] || i > 0 && !folders[path.Dir(it.path)] || strings.Count(it.path, "/") > deepestItem:
			return fmt.Errorf("its manifest holds the name %q in the wrong place", shorten(it.path))
		case it.mode&^0o777 != 0 || it.size < 0 || it.kind != 'f' && it.size != 0:
			return fmt.Errorf("its manifest describes no file by %q", shorten(it.path))
		case it.kind == 'f' && !digestShape.MatchString(it.digest):
			return fmt.Errorf("its manifest has no digest of %q", shorten(it.path))
		case it.kind == 'l' && (it.target == "" || len(it.target) > 4095 || strings.ContainsRune(it.target, 0)):
			return fmt.Errorf("its manifest has no target of the link %q", shorten(it.path))
		case it.kind == 'x':
			return fmt.Errorf("%q is no file, folder or link", shorten(it.path))
		}
		if total += it.size; total < 0 {
			return errors.New("its files are too large")
		}
		seen[it.path], folders[it.path] = true, it.kind == 'd'
	}
	return nil
}

// archiveReader is an archive that is being read.
type archiveReader struct {
	passport
	manifest manifest
	raw      io.Reader
	tar      *tar.Reader
	close    func()
	read     bool // its files were
}

// openArchive reads an archive up to its files. Nothing in it is trusted.
func openArchive(r io.Reader) (*archiveReader, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(mostWindow), zstd.WithDecoderConcurrency(2))
	if err != nil {
		return nil, err
	}
	a, err := readArchive(z)
	if err != nil {
		z.Close()
		return nil, err
	}
	a.close = z.Close
	return a, nil
}

// readArchive is openArchive for one that is not compressed.
func readArchive(r io.Reader) (*archiveReader, error) {
	a := &archiveReader{raw: r, tar: tar.NewReader(r), close: func() {}}
	return a, a.open()
}

func (a *archiveReader) open() error {
	size, err := a.next(passportName, tar.TypeReg)
	if err != nil {
		return fmt.Errorf("this is no archive of an environment: %w", err)
	}
	data, err := a.take(size, mostPassport)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &a.passport); err != nil {
		return fmt.Errorf("this is no archive of an environment: %w", err)
	}
	if err := a.passport.check(); err != nil {
		return fmt.Errorf("the archive can't be read: %w", err)
	}
	if size, err = a.next(manifestName, tar.TypeReg); err != nil {
		return err
	}
	if size > mostManifest {
		return errors.New("the manifest of the archive is too large")
	}
	if a.manifest, err = readManifest(io.LimitReader(a.tar, size)); err != nil {
		return err
	}
	if err := a.manifest.check(); err != nil {
		return fmt.Errorf("the archive can't be read: %w", err)
	}
	return nil
}

// next goes to the next entry, which must be the one of that name and kind.
func (a *archiveReader) next(name string, kind byte) (size int64, err error) {
	h, err := a.tar.Next()
	if errors.Is(err, io.EOF) {
		return 0, errors.New("the archive ends too early")
	}
	if err != nil {
		return 0, err
	}
	if h.Name != name || h.Typeflag != kind {
		return 0, fmt.Errorf("the archive holds %q where %q must be", shorten(h.Name), shorten(name))
	}
	return h.Size, nil
}

// take reads a small entry.
func (a *archiveReader) take(size, most int64) ([]byte, error) {
	if size > most {
		return nil, errors.New("an entry of the archive is too large")
	}
	return io.ReadAll(io.LimitReader(a.tar, size))
}

// end makes sure that nothing follows, and that the sums of zstd are right.
func (a *archiveReader) end() error {
	if _, err := a.tar.Next(); !errors.Is(err, io.EOF) {
		return errors.Join(errors.New("the archive goes on where it must end"), err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(a.raw, mostPassport))
	if err == nil && n == mostPassport {
		err = errors.New("the archive goes on where it must end")
	}
	return err
}
