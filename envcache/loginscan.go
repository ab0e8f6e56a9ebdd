package envcache

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"agentctl/envcache/internal/secret"
	"agentctl/internal/fsx"
	"agentctl/internal/tree"
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
// it last looked, which may have been before a crash. Packages are left out: they
// are what the index has, and nobody's login.
func (c *Cache) forgetLogins(uid int, known *secret.Redactor) error {
	top := filepath.Join(c.state, "cache")
	marker, now := filepath.Join(top, ".searched-"+strconv.Itoa(uid)), c.now()
	since := time.Time{}
	if info, err := os.Stat(marker); err == nil {
		since = info.ModTime().Add(-time.Second)
	}
	if err := forgetLoginsIn(top, uid, since, known); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was ever downloaded
	} else if err != nil {
		return err
	}
	return errors.Join(fsx.ReplaceFile(marker, nil, 0o600), os.Chtimes(marker, now, now))
}

func forgetLoginsIn(top string, uid int, since time.Time, known *secret.Redactor) error {
	return tree.Walk(top, func(n tree.Node) error {
		switch {
		case n.Info.IsDir() && n.Rel != "." && !strings.Contains(n.Rel, "/"):
			if !strings.HasSuffix(n.Rel, "-"+strconv.Itoa(uid)) || strings.HasPrefix(n.Rel, "wheels-") {
				return tree.SkipDir
			}
		case n.Info.IsDir() && unitLock(n.Rel) != "":
			return tree.SkipDir
		case n.Info.Mode().IsRegular() && !n.Info.ModTime().Before(since) && holdsLogin(n, known):
			if err := n.Dir.Remove(n.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}, nil)
}

// holdsLogin is false for what can't be read: another build may have replaced it,
// and searches it itself.
func holdsLogin(n tree.Node, known *secret.Redactor) bool {
	file, err := n.Open()
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	for _, at := range []int64{0, max(mostKept, n.Info.Size()-mostKept)} {
		text, err := io.ReadAll(io.NewSectionReader(file, at, mostKept))
		if err == nil && (keptLogin.Match(text) || known.Finds(text)) {
			return true
		}
	}
	return false
}
