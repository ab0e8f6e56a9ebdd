package envcache

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

// indexes decides where packages come from: what the request says, or else what
// pip would use on this host. It gives the logins that stood in the URLs.
func (b *pipBuilder) indexes(req Request, p *pipPlan) []urlLogin {
	p.settings = hostPipSettings(b.getenv)
	if req.IndexURL != "" {
		p.settings.index, p.settings.extra = req.IndexURL, nil
	}
	p.settings.extra = append(slices.Clone(p.settings.extra), req.ExtraIndexURLs...)
	var logins []urlLogin
	clean := func(raw string, _ int) string {
		plain, login := secret.SplitURL(strings.TrimSpace(raw))
		if !login.Empty() {
			logins = append(logins, urlLogin{plain, false, login})
		}
		return plain
	}
	p.settings.index = clean(p.settings.index, 0)
	p.settings.extra = lo.Map(p.settings.extra, clean)
	return append(logins, p.list.logins...)
}

// credentials puts all logins where programs find them by themselves: in a
// netrc file, and for git in a file of its own credential helper, which can
// hold several logins per host.
func (p *pipPlan) credentials(req Request, inURLs []urlLogin, secrets *secret.Redactor) ([]secret.Machine, error) {
	var machines []secret.Machine
	for _, l := range inURLs {
		secrets.Add(l.Login)
		switch {
		case l.Password != "":
		case l.vcs: // a token alone: git hosts take any user with it
			l.Login = secret.Login{User: "x-oauth-basic", Password: l.User}
		default: // indexes take it as the user, with any password
			l.Password = "x-oauth-basic"
		}
		if l.vcs {
			u, err := url.Parse(strings.TrimPrefix(l.url, "git+"))
			if err != nil {
				return nil, errors.New("a URL with credentials is not valid")
			}
			u.User, u.Fragment = url.UserPassword(l.User, l.Password), ""
			u.Path, _, _ = strings.Cut(u.Path, "@")
			p.stored += u.String() + "\n"
			continue
		}
		m := secret.Machine{Host: secret.Host(l.url), Login: l.Login}
		if known, ok := secret.Lookup(machines, m.Host); ok && known != m.Login {
			return nil, fmt.Errorf("the URLs hold two different credentials for %s", m.Host)
		}
		machines = append(machines, m)
	}
	machines = lo.Uniq(machines)
	own, err := secret.Netrc(machines)
	if err != nil {
		return nil, err
	}
	p.netrc = own
	if req.CredentialsFile == "" {
		return machines, nil
	}
	data, err := os.ReadFile(req.CredentialsFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the index credentials: %w", err)
	}
	more, err := secret.ParseNetrc(string(data))
	if err != nil {
		return nil, fmt.Errorf("cannot read the index credentials in %s: %w", req.CredentialsFile, err)
	}
	for _, m := range more {
		secrets.Add(m.Login)
	}
	p.netrc += string(data)
	return append(machines, more...), nil
}
