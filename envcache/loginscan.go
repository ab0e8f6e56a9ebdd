package envcache

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/envcache/internal/secret"
	"agentctl/internal/fsx"
)

// keptLogin is how pip's cache and poetry's (msgpack, by cachecontrol) keep the
// headers of a request that its answer varies by. Where an index names
// Authorization as one of them, that is the login, in a file that stays.
var keptLogin = regexp.MustCompile(`(?is)authorization[^ -~\s].{0,2}(basic|bearer) `)

// mostKept is how much of the start and of the end of a file is searched: what
// lies between is the package.
const mostKept = 64 << 10

// forgetLogins removes the answers in one user's caches of downloads that hold a
// login, one of known or any in a form that is known. It looks at what came since
// it last looked, which may have been before a crash.
func (c *Cache) forgetLogins(uid int, known *secret.Redactor) error {
	dirs, err := filepath.Glob(filepath.Join(c.state, "cache", "*-"+strconv.Itoa(uid)))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		marker, now := dir+".searched", c.now()
		since := time.Time{}
		if info, err := os.Stat(marker); err == nil {
			since = info.ModTime()
		}
		if err := forgetLoginsIn(dir, since, known); err != nil {
			return err
		}
		if err := errors.Join(fsx.ReplaceFile(marker, nil, 0o600), os.Chtimes(marker, now, now)); err != nil {
			return err
		}
	}
	return nil
}

func forgetLoginsIn(dir string, since time.Time, known *secret.Redactor) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	files, err := cachedFiles(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.used.Before(since.Add(-time.Second)) || !holdsLogin(root, f, known) {
			continue
		}
		if err := root.Remove(f.rel); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// holdsLogin is false for what can't be read: another build may have replaced it,
// and searches it itself.
func holdsLogin(root *os.Root, f cachedFile, known *secret.Redactor) bool {
	file, err := root.OpenFile(f.rel, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	for _, at := range []int64{0, max(mostKept, f.size-mostKept)} {
		text, err := io.ReadAll(io.NewSectionReader(file, at, mostKept))
		if err == nil && (keptLogin.Match(text) || known.Finds(text)) {
			return true
		}
	}
	return false
}
