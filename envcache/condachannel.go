package envcache

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"agentctl/envcache/internal/secret"
)

var (
	channelSchemes = []string{"https", "http", "file"}
	channelName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)
	channelToken   = regexp.MustCompile(`^([a-z]+://[^/]+)/t/([^/]+)(/.*)?$`)
)

// channelUser stands for the user of a channel whose URLs carry a token (/t/TOKEN/).
const channelUser = "/t/"

// splitChannelURL takes a user, a password and a token out of a channel's URL.
func splitChannelURL(raw string) (clean string, login secret.Login) {
	clean, login = secret.SplitURL(raw)
	if m := channelToken.FindStringSubmatch(clean); m != nil {
		return m[1] + m[3], secret.Login{User: channelUser, Password: m[2]}
	}
	return clean, login
}

// channelList resolves channels, each once and in their order of priority.
type channelList struct {
	conf    condaSettings
	base    string // the repository, for relative paths; ""
	private string // folder no channel may be in
	dir     string // below base, that relative paths start from

	names  []string // as the client is told, without credentials
	logins []urlLogin
	notes  []string
}

// add resolves the name of a channel as conda on this host would.
func (c *channelList) add(name string) error { return c.resolve(strings.TrimSpace(name), 0) }

func (c *channelList) resolve(name string, depth int) error {
	more, isGroup := c.conf.groups[name]
	switch {
	case depth > 5:
		return fmt.Errorf("the channel %q names itself", shorten(name))
	case name == "nodefaults", name == "":
		return nil
	case name == "local":
		c.notes = append(c.notes, "the channel \"local\" is left out: what was built on another host is not here")
		return nil
	case isGroup:
		for _, n := range more {
			if err := c.resolve(n, depth+1); err != nil {
				return err
			}
		}
		return nil
	case strings.Contains(name, "://"):
		return c.link(name)
	case strings.HasPrefix(name, "/"), strings.HasPrefix(name, "."):
		return c.path(name)
	case !channelName.MatchString(name):
		return fmt.Errorf("%q is no channel", shorten(secret.RedactURLs(name)))
	}
	first, _, _ := strings.Cut(name, "/")
	for _, key := range []string{name, first} {
		if base, ok := c.conf.custom[key]; ok {
			return c.link(trimSlash(base) + "/" + name)
		}
	}
	if c.conf.alias != "" {
		return c.link(trimSlash(c.conf.alias) + "/" + name)
	}
	c.put(name) // the client knows where these are
	return nil
}

func (c *channelList) put(name string) {
	if !slices.Contains(c.names, name) {
		c.names = append(c.names, name)
	}
}

// link takes a URL. The folder of a platform is no part of a channel.
func (c *channelList) link(raw string) error {
	clean, login := splitChannelURL(trimSlash(raw))
	u, err := url.Parse(clean)
	if err != nil || !slices.Contains(channelSchemes, u.Scheme) || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is no channel: it must be a name or a URL with https, http or file", shorten(secret.RedactURLs(clean)))
	}
	for _, subdir := range subdirs() {
		clean = strings.TrimSuffix(clean, "/"+subdir)
	}
	if u.Scheme == "file" {
		if u.Host != "" || !filepath.IsAbs(u.Path) || inside(c.private, u.Path) {
			return fmt.Errorf("%q is no channel: a file URL must name an absolute path outside the agent's own folder", shorten(clean))
		}
	}
	if !login.Empty() {
		c.logins = append(c.logins, urlLogin{url: clean, Login: login})
	}
	c.put(clean)
	return nil
}

// path takes a folder: an absolute one of the host, or one of the repository.
func (c *channelList) path(name string) error {
	if !filepath.IsAbs(name) {
		rel := filepath.Join(c.dir, name)
		if c.base == "" || !filepath.IsLocal(rel) {
			return fmt.Errorf("the channel %q is not inside the task's repository", shorten(name))
		}
		name = filepath.Join(c.base, rel)
	}
	return c.link((&url.URL{Scheme: "file", Path: filepath.Clean(name)}).String())
}
