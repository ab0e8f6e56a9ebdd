package source

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/samber/lo"
)

// Bounds of the time between two looks at a repository.
const (
	DefaultInterval = time.Minute
	minInterval     = time.Second
	maxInterval     = 24 * time.Hour
)

// Git is a repository to follow. There is no secret in it: files are named, and
// read each time they are used.
type Git struct {
	// URL is https, http, ssh (also as git@host:path) or file.
	URL string `json:"url"`
	// Ref is a branch or a tag, by its short or full name; "" is the server's HEAD.
	Ref string `json:"ref,omitempty"`
	// Path is the file or folder in the repository, "." for all files at its top.
	Path     string        `json:"path"`
	Interval time.Duration `json:"interval"`
	// Credentials has a line https://USER:TOKEN@HOST for each host, as git's own
	// credential store.
	Credentials string `json:"credentials,omitempty"`
	SSHKey      string `json:"sshKey,omitempty"`
	// KnownHosts has the keys of SSH servers; "" is what ssh itself would use.
	KnownHosts string `json:"knownHosts,omitempty"`
	// Keyring has armored OpenPGP keys, AllowedSigners SSH keys as git's
	// gpg.ssh.allowedSignersFile. With either, a commit must be signed by one of them.
	Keyring        string `json:"keyring,omitempty"`
	AllowedSigners string `json:"allowedSigners,omitempty"`
}

// Checked is g with its defaults, or what is wrong with it. An error never repeats
// the URL, in which a password may be.
func (g Git) Checked() (Git, error) {
	g.Path = filepath.Clean(cmp.Or(g.Path, "."))
	g.Interval = cmp.Or(g.Interval, DefaultInterval)
	if g.Ref == "HEAD" {
		g.Ref = ""
	}
	ep, err := g.endpoint()
	if err != nil {
		return g, err
	}
	inner := strings.Split(g.Path, "/")
	switch {
	case !fs.ValidPath(g.Path) || slices.ContainsFunc(inner, func(s string) bool { return strings.EqualFold(s, ".git") }) || !readable(g.Path):
		return g, fmt.Errorf("the path %q is not one within a repository; write it as nodes/gpu.yaml, without .. and without a / at the beginning", g.Path)
	case plumbing.IsHash(g.Ref):
		return g, errors.New("the ref is a commit, which never changes; name a branch or a tag")
	case g.Ref != "" && plumbing.ReferenceName(fullRef(g.Ref)).Validate() != nil:
		return g, fmt.Errorf("%q is not the name of a branch or a tag", g.Ref)
	case g.Interval < minInterval || g.Interval > maxInterval:
		return g, fmt.Errorf("the interval %s is out of range; write %s to %s", g.Interval, minInterval, maxInterval)
	case ep.Protocol == "ssh" && g.SSHKey == "":
		return g, errors.New("a repository by ssh needs the file with the private key")
	case g.Credentials != "" && ep.Protocol != "https" && !(ep.Protocol == "http" && loopback(ep.Host)):
		return g, errors.New("credentials go to https servers only, or in plain to this machine itself")
	}
	for _, file := range []string{g.Credentials, g.SSHKey, g.KnownHosts, g.Keyring, g.AllowedSigners} {
		if file != "" && !filepath.IsAbs(file) {
			return g, fmt.Errorf("the path of the file %s is not absolute", file)
		}
	}
	return g, nil
}

// endpoint takes the URL apart.
func (g Git) endpoint() (*transport.Endpoint, error) {
	const example = "write it as https://host/repository.git, git@host:repository.git or /srv/repository.git"
	ep, err := transport.NewEndpoint(g.URL)
	switch {
	case err != nil || len(g.URL) > 2048 || !readable(g.URL) || strings.ContainsAny(g.URL, " \\'\"`"):
		return nil, errors.New("the repository's URL can't be read; " + example)
	case !slices.Contains([]string{"https", "http", "ssh", "file"}, ep.Protocol):
		return nil, fmt.Errorf("the protocol %q is not known here; %s", ep.Protocol, example)
	case ep.Password != "" || ep.User != "" && ep.Protocol != "ssh":
		return nil, errors.New("the repository's URL has a user or a password in it; take them out and name a file with credentials")
	case strings.ContainsAny(g.URL, "?#") || ep.Path == "":
		return nil, errors.New("the repository's URL has a ? or # in it, or no path; " + example)
	case ep.Protocol == "file" && !strings.HasPrefix(g.URL, "/") && !strings.HasPrefix(g.URL, "file:///"):
		return nil, errors.New("the path of the repository is not absolute")
	case ep.Protocol != "file" && (ep.Host == "" || strings.HasPrefix(ep.Host, "-")):
		return nil, errors.New("the repository's URL has no host; " + example)
	}
	return ep, nil
}

// String says it for people.
func (g Git) String() string {
	return fmt.Sprintf("the git repository %s (%s, %s)", g.URL, cmp.Or(g.Ref, "HEAD"), g.Path)
}

// same tells that g and o are one place: other credentials don't make it another.
func (g *Git) same(o *Git) bool {
	return g == o || g != nil && o != nil && g.URL == o.URL && g.Ref == o.Ref && g.Path == o.Path
}

// signed tells whether commits must be signed.
func (g Git) signed() bool { return g.Keyring != "" || g.AllowedSigners != "" }

// fullRef is a name that stands for what a short name may mean.
func fullRef(ref string) string {
	if strings.HasPrefix(ref, "refs/") {
		return ref
	}
	return "refs/heads/" + ref
}

// wanted is the hash of the ref among those that a server tells of.
func (g Git) wanted(head *plumbing.Hash, refs map[string]plumbing.Hash) (plumbing.Hash, error) {
	if g.Ref == "" {
		if head == nil {
			return plumbing.ZeroHash, gitError("RefNotFound", "the repository has no HEAD; name a branch with --ref")
		}
		return *head, nil
	}
	names := []string{g.Ref}
	if !strings.HasPrefix(g.Ref, "refs/") {
		names = []string{"refs/heads/" + g.Ref, "refs/tags/" + g.Ref}
	}
	found := lo.Filter(names, func(name string, _ int) bool { _, ok := refs[name]; return ok })
	switch len(found) {
	case 0:
		return plumbing.ZeroHash, gitError("RefNotFound", "the repository has no branch or tag %s", g.Ref)
	case 1:
		return refs[found[0]], nil
	}
	return plumbing.ZeroHash, gitError("RefNotFound", "%s is both a branch and a tag; write %s", g.Ref, strings.Join(names, " or "))
}

func loopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// gitError is why a repository gives no text.
func gitError(reason, format string, args ...any) *ReadError {
	return &ReadError{reason: reason, err: fmt.Errorf(format, args...), git: true}
}

func readable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// plain makes text of a commit or a server fit for a line of a log, and short.
func plain(s string) string {
	const longest = 200
	out := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)))
	if len(out) > longest {
		return string(out[:longest]) + "…"
	}
	return string(out)
}
