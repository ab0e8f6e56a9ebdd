package envcache

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
)

// condaPackage is one conda package at its place: what an explicit list names.
type condaPackage struct {
	URL    string `json:"url"` // without credentials
	SHA256 string `json:"sha256,omitempty"`
	MD5    string `json:"md5,omitempty"`
}

// line is the package in a lock. sha256 counts: conda's own lists have the
// weaker digest only.
func (p condaPackage) line() string {
	if p.SHA256 != "" {
		return p.URL + "#sha256:" + p.SHA256
	}
	return p.URL + "#" + p.MD5
}

// known tells that the list says which bytes the package is.
func (p condaPackage) known() bool { return p.SHA256 != "" || p.MD5 != "" }

// channel is the channel that the package is in.
func (p condaPackage) channel() string {
	parts := strings.Split(p.URL, "/")
	return strings.Join(parts[:max(0, len(parts)-2)], "/")
}

// nameVersion are the parts of the file's name.
func (p condaPackage) nameVersion() (name, version string) {
	m := condaArchive.FindStringSubmatch(path.Base(p.URL))
	if m == nil {
		return "", ""
	}
	return strings.ToLower(m[1]), m[2]
}

var (
	// condaArchive is NAME-VERSION-BUILD.conda; a name may hold dashes, the others not.
	condaArchive = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*)-([A-Za-z0-9_.!+]+)-([A-Za-z0-9_.+]+)\.(?:conda|tar\.bz2)$`)
	explicitMark = regexp.MustCompile(`(?m)^[ \t]*@EXPLICIT[ \t\r]*$`)
)

// isExplicit tells whether a text is an explicit list, as `conda list --explicit`
// writes it.
func isExplicit(text string) bool { return explicitMark.MatchString(text) }

// subdirs are the folders of a channel that hold packages for this host.
func subdirs() []string {
	arch := map[string]string{"amd64": "64", "arm64": "aarch64"}[goruntime.GOARCH]
	if arch == "" {
		arch = goruntime.GOARCH
	}
	return []string{"linux-" + arch, "noarch"}
}

// parseExplicit reads an explicit list: URLs, each with the digest that the file
// must have. Logins that stand in them are taken out.
func parseExplicit(text string) ([]condaPackage, []urlLogin, error) {
	var all []condaPackage
	var logins []urlLogin
	names := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || line == "@EXPLICIT" {
			continue
		}
		link, digest, _ := strings.Cut(line, "#")
		clean, login := splitChannelURL(strings.TrimSpace(link))
		p := condaPackage{URL: clean}
		if err := p.digest(digest); err != nil {
			return nil, nil, fmt.Errorf("%q: %w", shorten(clean), err)
		}
		if err := p.check(); err != nil {
			return nil, nil, fmt.Errorf("%q: %w", shorten(clean), err)
		}
		name, _ := p.nameVersion()
		if names[name] {
			return nil, nil, fmt.Errorf("%q: there is another file of %s in the list", shorten(clean), name)
		}
		names[name] = true
		if !login.Empty() {
			logins = append(logins, urlLogin{url: clean, Login: login})
		}
		all = append(all, p)
	}
	return all, logins, nil
}

func (p *condaPackage) digest(s string) error {
	s = strings.ToLower(strings.TrimSpace(s))
	s = strings.TrimPrefix(strings.TrimPrefix(s, "sha256:"), "md5:")
	if _, err := hex.DecodeString(s); err != nil {
		return fmt.Errorf("%q is no digest", shorten(s))
	}
	switch len(s) {
	case 0:
	case 32:
		p.MD5 = s
	case 64:
		p.SHA256 = s
	default:
		return fmt.Errorf("%q is neither an MD5 nor a SHA-256 digest", shorten(s))
	}
	return nil
}

// check refuses what no file of a channel for this host can be.
func (p *condaPackage) check() error {
	u, err := url.Parse(p.URL)
	if err != nil || u.RawQuery != "" || !slices.Contains(channelSchemes, u.Scheme) {
		return errors.New("this is no URL of a conda package")
	}
	if name, _ := p.nameVersion(); name == "" {
		return errors.New("this is no name of a conda package")
	}
	if subdir := path.Base(path.Dir(u.Path)); !slices.Contains(subdirs(), subdir) {
		return fmt.Errorf("the package is for %q, and this host is %s", shorten(subdir), subdirs()[0])
	}
	return nil
}
