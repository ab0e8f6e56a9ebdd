package repo

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"agentctl/envcache/internal/secret"
)

// address is where a repository is, checked and without credentials.
type address struct {
	url    string // as git gets it
	scheme string // https, http, ssh, git or file
	origin string // scheme://host[:port] of http(s), to which credentials are bound
	login  secret.Login
}

func (a address) local() bool { return a.scheme == "file" }

// fetched tells that nothing of this host's user is needed to get it: credentials are
// handed over.
func (a address) fetched() bool { return slices.Contains([]string{"https", "http", "git"}, a.scheme) }

var (
	scpLike   = regexp.MustCompile(`^(?:([A-Za-z0-9._][A-Za-z0-9._-]*)@)?([A-Za-z0-9\[][A-Za-z0-9.:_\]-]*?):([^:].*)$`)
	plainHost = regexp.MustCompile(`^(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?$`)
	helper    = regexp.MustCompile(`^[A-Za-z0-9+.-]+::`)
)

// parseAddress checks the URL of a repository. It takes what git takes for
// remote repositories and absolute local paths, and refuses all that could be
// an option, another program, or a break in a protocol's line.
func parseAddress(raw string) (address, error) {
	clean, login := secret.SplitURL(strings.TrimSpace(raw))
	show := fmt.Sprintf("%q", secret.RedactURLs(clean))
	switch {
	case clean == "":
		return address{}, errors.New("no repository is given")
	case len(clean) > 4096 || strings.ContainsFunc(clean, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return address{}, fmt.Errorf("the repository %.200s has blanks or control characters in it, or is too long", show)
	case strings.HasPrefix(clean, "-"):
		return address{}, fmt.Errorf("the repository %s looks like an option", show)
	case helper.MatchString(clean):
		return address{}, fmt.Errorf("the repository %s asks for a helper program", show)
	}
	a := address{url: clean, login: login}
	if strings.HasPrefix(clean, "/") {
		a.url, a.scheme = path.Clean(clean), "file"
		return a, nil
	}
	if !strings.Contains(clean, "://") {
		m := scpLike.FindStringSubmatch(clean)
		if m == nil || strings.HasPrefix(m[3], "-") {
			return address{}, fmt.Errorf("the repository %s is neither a URL nor an absolute path", show)
		}
		a.scheme = "ssh"
		return a, nil
	}
	return a.fromURL(show)
}

func (a address) fromURL(show string) (address, error) {
	a.url = strings.TrimPrefix(a.url, "git+")
	u, err := url.Parse(a.url)
	if err != nil {
		return address{}, fmt.Errorf("the repository %s is no valid URL", show)
	}
	a.scheme = strings.ToLower(u.Scheme)
	switch a.scheme {
	case "file":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || u.RawQuery != "" {
			return address{}, fmt.Errorf("the repository %s names no absolute path", show)
		}
		a.url = path.Clean(u.Path) // one name, and one mirror, for a path and its URL
		return a, nil
	case "https", "http", "ssh", "git":
	default:
		return address{}, fmt.Errorf("the repository %s: %s is not allowed; https, http, ssh, git and file are", show, a.scheme)
	}
	if !plainHost.MatchString(u.Host) || strings.HasPrefix(u.User.Username(), "-") || strings.HasPrefix(u.Path, "/-") {
		return address{}, fmt.Errorf("the repository %s has no valid host, user or path", show)
	}
	if a.scheme == "https" || a.scheme == "http" {
		a.origin = a.scheme + "://" + u.Host
	}
	return a, nil
}

// relative resolves the URL of a submodule: one that starts with ./ or ../ is
// relative to the repository that names it (gitsubmodules(7)).
func (a address) relative(link string) (string, error) {
	if !strings.HasPrefix(link, "./") && !strings.HasPrefix(link, "../") {
		return link, nil
	}
	base := strings.TrimRight(a.url, "/")
	for {
		switch {
		case strings.HasPrefix(link, "./"):
			link = link[2:]
		case strings.HasPrefix(link, "../"):
			link = link[3:]
			i := strings.LastIndexAny(base, "/:")
			if i <= 0 || strings.HasSuffix(base[:i], ":/") || strings.HasSuffix(base[:i], "/") {
				return "", fmt.Errorf("the submodule URL leads out of %s", a.url)
			}
			if base[i] == ':' {
				return base[:i+1] + link, nil // above the path of an scp-like address there is nothing
			}
			base = base[:i]
		default:
			return base + "/" + link, nil
		}
	}
}

var commitShape = regexp.MustCompile(`^[0-9a-f]{4,64}$`)

// fullCommit tells whether a commit id is complete.
func fullCommit(id string) bool {
	return commitShape.MatchString(id) && (len(id) == 40 || len(id) == 64)
}

// checkRef checks the name of a branch or tag by the rules of
// git-check-ref-format(1).
func checkRef(what, name string) error {
	bad := strings.HasPrefix(name, "-") || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.HasSuffix(name, ".") ||
		strings.Contains(name, "..") || strings.Contains(name, "//") || strings.Contains(name, "@{") || name == "@" || len(name) > 1024 ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) })
	for part := range strings.SplitSeq(name, "/") {
		bad = bad || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock")
	}
	if bad {
		return fmt.Errorf("%q is no valid name of a %s", name, what)
	}
	return nil
}
