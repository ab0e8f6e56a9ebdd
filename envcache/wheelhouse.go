package envcache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/internal/fsx"
)

// A wheelhouse keeps what pip downloaded for one user's builds, by digest, so
// that a lock can be installed when the index is gone: pip's own cache knows files
// by URL, and asks the index for those each time.
//
//	STATE/cache/wheels-UID/DIGEST--NAME.whl   a wheel
//	STATE/cache/wheels-UID/DIGEST.url         where a source archive came from: pip's
//	                                          cache has the wheel that it built of it
//
// Wheels are links to what pip unpacked, or to pip's own cache where that has
// them too: keeping them copies nothing.
type wheelhouse struct {
	dir string
	// files by digest.
	files map[string]string
}

const (
	houseMark = "--"
	sourceURL = ".url"
)

var wheelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl$`)

// openHouse opens the wheelhouse for the builds of s. Nobody but the agent can
// write there.
func (s *site) openHouse() (*wheelhouse, error) {
	parent := filepath.Join(filepath.Dir(filepath.Dir(s.path)), "cache")
	h := &wheelhouse{dir: filepath.Join(parent, "wheels-"+strconv.Itoa(s.uid)), files: map[string]string{}}
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return nil, err
	}
	if err := os.Mkdir(h.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	files, err := os.ReadDir(h.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if digest, name, ok := strings.Cut(f.Name(), houseMark); ok && wheelName.MatchString(name) {
			h.files[digest] = f.Name()
		} else if digest, ok := strings.CutSuffix(f.Name(), sourceURL); ok && h.files[digest] == "" {
			h.files[digest] = f.Name()
		}
	}
	return h, nil
}

// keep files what pip downloaded: the archives that it left in its folders for
// unpacking (see pipKeeping). What can't be kept is downloaded again one day.
func (h *wheelhouse) keep(s *site, r report) error {
	root, err := os.OpenRoot(s.work)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	found, err := fs.Glob(root.FS(), "tmp/pip-unpack-*/*.whl")
	if err != nil {
		return err
	}
	byName := map[string]string{}
	for _, f := range found {
		byName[path.Base(f)] = f
	}
	var failed error
	for _, it := range r.Install {
		info := it.DownloadInfo
		if it.IsDirect || info.Archive == nil || !fileDigest.MatchString(info.Archive.Hashes["sha256"]) {
			continue
		}
		digest := info.Archive.Hashes["sha256"]
		u, err := url.Parse(info.URL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || h.files[digest] != "" {
			continue
		}
		if file := byName[path.Base(u.Path)]; file != "" && wheelName.MatchString(path.Base(file)) {
			failed = errors.Join(failed, h.link(s, root, file, info.URL, digest))
		} else if !strings.HasSuffix(u.Path, ".whl") {
			u.User, u.Fragment = nil, ""
			failed = errors.Join(failed, fsx.ReplaceFile(filepath.Join(h.dir, digest+sourceURL), []byte(u.String()), 0o600))
		}
	}
	return failed
}

// link gives a file below root, which the build's user may write to, a name in
// the wheelhouse. It is no link that leads elsewhere, and has its digest checked
// by who installs it.
func (h *wheelhouse) link(s *site, root *os.Root, file, link, digest string) error {
	f, err := openPlain(root, file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if same, err := s.cachedBody(link, f); err == nil {
		defer func() { _ = same.Close() }()
		f = same
	}
	return linkOpen(f, filepath.Join(h.dir, digest+houseMark+path.Base(file)))
}

// cachedBody opens the copy of a download in pip's own cache, so that the disk
// holds it once.
func (s *site) cachedBody(link string, like *os.File) (*os.File, error) {
	dir, err := s.downloads(ManagerPip)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	link, _, _ = strings.Cut(link, "#")
	sum := sha256.Sum224([]byte(link))
	name := hex.EncodeToString(sum[:])
	f, err := openPlain(root, path.Join("http-v2", name[:1], name[1:2], name[2:3], name[3:4], name[4:5], name+".body"))
	if err != nil {
		return nil, err
	}
	has, err := f.Stat()
	want, werr := like.Stat()
	if err != nil || werr != nil || has.Size() != want.Size() {
		return nil, errors.Join(fs.ErrNotExist, f.Close())
	}
	return f, nil
}

// openPlain opens a file of a folder that somebody else may write to.
func openPlain(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no file", name), f.Close())
	}
	return f, nil
}

// linkOpen gives an open file a further name on the same disk. A name that is
// there already stays.
func linkOpen(f *os.File, name string) error {
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if err == nil || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return &os.LinkError{Op: "link", Old: f.Name(), New: name, Err: err}
}

// take puts a wheel into the folder dir, under the name that pip knows it by.
func (h *wheelhouse) take(digest, dir string, now time.Time) (string, error) {
	_, name, ok := strings.Cut(h.files[digest], houseMark)
	if !ok {
		return "", fs.ErrNotExist
	}
	file := filepath.Join(h.dir, h.files[digest])
	_ = os.Chtimes(file, now, now) // downloads go by age
	to := filepath.Join(dir, name)
	if err := os.Link(file, to); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return to, nil
}

// source is where a source archive came from.
func (h *wheelhouse) source(digest string) (string, error) {
	file, ok := strings.CutSuffix(h.files[digest], sourceURL)
	if !ok {
		return "", fs.ErrNotExist
	}
	data, err := os.ReadFile(filepath.Join(h.dir, file+sourceURL))
	return string(data), err
}

// drop forgets a wheel that is not what its name says: its user may have
// written to it.
func (h *wheelhouse) drop(digest string) error {
	name := filepath.Join(h.dir, h.files[digest])
	if !strings.HasSuffix(name, ".whl") {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil || hex.EncodeToString(sum.Sum(nil)) == digest {
		return err
	}
	return os.Remove(name)
}
