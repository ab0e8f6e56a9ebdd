package envcache

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

// Limits of a lock that comes from elsewhere.
const (
	mostLocked = 5000 // packages
	mostLine   = 64 << 10
)

var (
	lockVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+){1,2}[0-9A-Za-z.+-]{0,32}$`)
	lockPin     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._ -]*\])?==[A-Za-z0-9.!+_-]+$`)
	lockName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._ -]*\])?$`)
	lockHash    = regexp.MustCompile(`^--hash=sha256:[0-9a-f]{64}$`)
	lockMarker  = regexp.MustCompile(`^[A-Za-z0-9_.'"<>=!~(), *+-]+$`)
	lockGroup   = regexp.MustCompile(`^(\*|[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)$`)
	lockCommit  = regexp.MustCompile(`@[0-9a-f]{40}([0-9a-f]{24})?$`)
	lockIndex   = regexp.MustCompile(`^--(index-url|extra-index-url|find-links|trusted-host) \S+$`)
	condaDigest = regexp.MustCompile(`^(sha256:[0-9a-f]{64}|[0-9a-f]{32})$`)
	fileDigest  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	lockManager = []string{ManagerPip, ManagerUV, ManagerConda, ManagerPoetry}
)

// Check tells whether a lock says nothing but which packages there are: each at
// one version and known by its digest or commit, none from a path of this host.
// A lock that comes back from a server may hold anything.
func (l Lock) Check() error {
	switch {
	case !slices.Contains(lockManager, l.Manager):
		return fmt.Errorf("the lock is of %q, which is no manager of environments", shorten(l.Manager))
	case !lockVersion.MatchString(l.Python):
		return fmt.Errorf("the lock is for Python %q, which is no version", shorten(l.Python))
	case len(l.Packages)+len(l.Conda) > mostLocked:
		return fmt.Errorf("the lock has more than %d packages", mostLocked)
	case l.For != "" && !fileDigest.MatchString(l.For):
		return errors.New("the lock does not tell what it is for")
	case (l.File == "") != (l.SHA256 == "") || l.File != "" && (!filepath.IsLocal(l.File) || !fileDigest.MatchString(l.SHA256)):
		return fmt.Errorf("the lock names the file %q, which is none of a repository with its digest", shorten(l.File))
	}
	if file, digest, _ := cutLast(l.Source, "@"); l.Source != "" && (!filepath.IsLocal(file) || !fileDigest.MatchString(digest)) {
		return fmt.Errorf("the lock comes from %q, which is no file of a repository with its digest", shorten(l.Source))
	}
	if bad, found := lo.Find(slices.Concat(l.Groups, l.Extras), func(n string) bool { return !lockGroup.MatchString(n) }); found {
		return fmt.Errorf("the lock names the group %q", shorten(bad))
	}
	for _, line := range l.Packages {
		if err := checkLocked(line); err != nil {
			return fmt.Errorf("the lock's line %q: %w", shorten(secret.RedactURLs(line)), err)
		}
	}
	for _, line := range l.Conda {
		link, digest, _ := strings.Cut(line, "#")
		if err := checkLink(link, "https", "http", "file"); err != nil || !condaDigest.MatchString(digest) {
			return fmt.Errorf("the lock's line %q is no package of conda with its digest", shorten(secret.RedactURLs(line)))
		}
	}
	for _, line := range l.Indexes {
		if !lockIndex.MatchString(line) || len(line) > mostLine {
			return fmt.Errorf("the lock's line %q names no index", shorten(secret.RedactURLs(line)))
		}
	}
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// byLock checks the lock of a request. Of the file that is a lock, the lock says
// what was installed. What it is shown beside is no part of it.
func (r *Request) byLock() error {
	l := *r.Lock
	if err := l.Check(); err != nil {
		return err
	}
	if l.Manager != r.Manager {
		return fmt.Errorf("the lock is of %s, and %s is to install it", l.Manager, r.Manager)
	}
	if l.File != "" {
		r.Groups, r.Extras = l.Groups, l.Extras
	}
	l.For, l.Source, l.Groups, l.Extras = "", "", nil, nil
	r.Lock = &l
	return nil
}

// checkLocked checks one line of Lock.Packages.
func checkLocked(line string) error {
	if len(line) > mostLine || strings.ContainsAny(line, "\n\r\x00\\") {
		return errors.New("it is too long, or no single line")
	}
	words, hashes := splitOptions(line)
	for _, h := range hashes {
		if !lockHash.MatchString(h) {
			return fmt.Errorf("%q is no digest", shorten(h))
		}
	}
	spec, marker := splitMarker(words)
	if marker != "" && !lockMarker.MatchString(marker) {
		return errors.New("its marker is not valid")
	}
	name, link, direct := strings.Cut(spec, " @ ")
	switch {
	case !direct && !lockPin.MatchString(spec):
		return errors.New("it does not pin a version")
	case direct && !lockName.MatchString(name):
		return errors.New("it has no name")
	case direct && vcsScheme.MatchString(link):
		link, _, _ = strings.Cut(link, "#")
		if !lockCommit.MatchString(link) || len(hashes) > 0 {
			return errors.New("it does not name a commit")
		}
		return checkLink(lockCommit.ReplaceAllString(link, ""), "git+https", "git+http", "git+ssh", "git+git", "git+file")
	case len(hashes) == 0:
		return errors.New("it has no digest")
	case direct:
		return checkLink(link, "https", "http")
	}
	return nil
}

// checkLink checks a URL that a lock names. It has no password: a lock is shown.
func checkLink(link string, schemes ...string) error {
	u, err := url.Parse(link)
	if err != nil || !slices.Contains(schemes, u.Scheme) || strings.ContainsAny(link, " \t") || u.Path == "" {
		return errors.New("its URL is not valid, or not allowed here")
	}
	if _, has := u.User.Password(); has || u.User != nil && !strings.Contains(u.Scheme, "ssh") {
		return errors.New("its URL holds credentials")
	}
	return nil
}
