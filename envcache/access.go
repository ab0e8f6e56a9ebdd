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

// access is where packages come from and who asks for them. The managers get the
// logins in private files of their build.
type access struct {
	settings pipSettings // without credentials
	machines []secret.Machine
	netrc    string // the operator's file and what stood in URLs
	stored   string // git's credentials, in the format of git-credential-store
	secrets  *secret.Redactor
}

// newAccess decides where packages come from: what the request says, or else
// what pip would use on this host. more are logins that stood in requirements.
func newAccess(getenv func(string) string, req Request, more []urlLogin) (*access, error) {
	p := &access{settings: hostPipSettings(getenv), secrets: &secret.Redactor{}}
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
	return p, p.credentials(req, append(logins, more...))
}

// parts are the indexes, for a key: without credentials.
func (p *access) parts() []Part {
	return []Part{
		{Name: indexPart, Value: trimSlash(p.settings.index)},
		{Name: extraPart, Lines: lo.Map(p.settings.extra, func(s string, _ int) string { return trimSlash(s) })},
	}
}

func trimSlash(s string) string { return strings.TrimRight(s, "/") }

// credentials puts all logins where programs find them by themselves: in a
// netrc file, and for git in a file of its own credential helper, which can
// hold several logins per host.
func (p *access) credentials(req Request, inURLs []urlLogin) error {
	var machines []secret.Machine
	for _, l := range inURLs {
		p.secrets.Add(l.Login)
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
				return errors.New("a URL with credentials is not valid")
			}
			u.User, u.Fragment = url.UserPassword(l.User, l.Password), ""
			u.Path, _, _ = strings.Cut(u.Path, "@")
			p.stored += u.String() + "\n"
			continue
		}
		m := secret.Machine{Host: secret.Host(l.url), Login: l.Login}
		if known, ok := secret.Lookup(machines, m.Host); ok && known != m.Login {
			return fmt.Errorf("the URLs hold two different credentials for %s", m.Host)
		}
		machines = append(machines, m)
	}
	machines = lo.Uniq(machines)
	own, err := secret.Netrc(machines)
	if err != nil {
		return err
	}
	p.netrc, p.machines = own, machines
	if req.CredentialsFile == "" {
		return nil
	}
	data, err := os.ReadFile(req.CredentialsFile)
	if err != nil {
		return fmt.Errorf("cannot read the index credentials: %w", err)
	}
	more, err := secret.ParseNetrc(string(data))
	if err != nil {
		return fmt.Errorf("cannot read the index credentials in %s: %w", req.CredentialsFile, err)
	}
	for _, m := range more {
		p.secrets.Add(m.Login)
	}
	p.netrc += string(data)
	p.machines = append(machines, more...)
	return nil
}
