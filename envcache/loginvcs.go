package envcache

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"agentctl/envcache/internal/secret"
)

// ofRepositories finds the operator's logins for repositories that lines name, each for
// its own address. One of ssh becomes one of https, if that is wanted and its host has
// a login: by settings of this build's git alone.
func (a *access) ofRepositories(ctx context.Context, links []string, out *logins) ([]secret.Machine, error) {
	var repos []secret.Machine
	a.instead = nil
	for _, link := range links {
		plain := repository(link)
		to := a.byHTTPS(plain)
		if !vcsScheme.MatchString(link) || slices.ContainsFunc(a.inURLs, func(l urlLogin) bool { return l.vcs && repository(l.url) == plain }) {
			continue
		}
		if u, err := url.Parse(to); err != nil || u.Scheme != "https" && u.Scheme != "http" {
			continue // ssh has keys of its own, a file needs none
		}
		login, ok, err := a.git.login(ctx, to)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if login.Password == "" { // a token alone
			login = secret.Login{User: tokenUser, Password: login.User}
		}
		a.secrets.Add(login)
		if err := out.store("git+"+to, login); err != nil {
			return nil, err
		}
		repos = append(repos, secret.Machine{Host: secret.Host(to), Login: login})
		if to != plain {
			a.instead = append(a.instead, [2]string{"url." + to + ".insteadOf", plain})
		}
	}
	return repos, nil
}

// byHTTPS is an address of ssh as one of https. The port is ssh's, and nothing to others.
func (a *access) byHTTPS(link string) string {
	u, err := url.Parse(link)
	if !a.gitHTTPS || err != nil || u.Scheme != "ssh" || u.Hostname() == "" {
		return link
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return (&url.URL{Scheme: "https", Host: host, Path: u.Path}).String()
}
