package envcache

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

// logins are what the programs of one build log in with, in the forms in which
// they find it by themselves.
type logins struct {
	machines []secret.Machine // one per host; a default entry comes last
	netrc    string           // the same, for pip, uv, curl and git
	stored   string           // git's, in the format of git-credential-store, which can hold several logins per host
}

// logins looks up the credentials for the indexes and for more addresses, which
// hold none: of packages, repositories and channels. What stood in URLs counts
// most, then the operator's file, then the operator's program, then a default
// entry of the file.
func (a *access) logins(ctx context.Context, more ...string) (logins, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	named, fallback, err := a.keys.machines()
	if err != nil {
		return logins{}, err
	}
	var out logins
	own, err := a.fromURLs(&out)
	if err != nil {
		return logins{}, err
	}
	named = lo.UniqBy(named, func(m secret.Machine) string { return m.Host })
	repos, err := a.ofRepositories(ctx, more, &out)
	if err != nil {
		return logins{}, err
	}
	told, err := a.fromProgram(ctx, own, named, more, repos, &out)
	if err != nil {
		return logins{}, err
	}
	strict := slices.Concat(own, told)
	read := slices.DeleteFunc(named, func(m secret.Machine) bool { return has(strict, m.Host) })
	read = append(read, fallback[:min(len(fallback), 1)]...)
	out.machines = slices.Concat(strict, read)
	for _, m := range out.machines {
		a.secrets.Add(m.Login)
	}
	out.netrc, err = secret.Netrc(strict, read)
	return out, err
}

func has(machines []secret.Machine, host string) bool {
	return slices.ContainsFunc(machines, func(m secret.Machine) bool { return m.Host == host })
}

// fromURLs takes the logins that stood in addresses.
func (a *access) fromURLs(out *logins) ([]secret.Machine, error) {
	var machines []secret.Machine
	for _, l := range a.inURLs {
		switch {
		case l.Password != "":
		case l.vcs: // a token alone
			l.Login = secret.Login{User: tokenUser, Password: l.User}
		default: // indexes take it as the user, with any password
			l.Password = tokenUser
		}
		if l.vcs {
			if err := out.store(l.url, l.Login); err != nil {
				return nil, err
			}
			continue
		}
		m := secret.Machine{Host: secret.Host(l.url), Login: l.Login}
		if known, ok := secret.Lookup(machines, m.Host); ok && known != m.Login {
			return nil, fmt.Errorf("the URLs hold two different credentials for %s", m.Host)
		}
		machines = append(machines, m)
	}
	return lo.Uniq(machines), nil
}

// fromProgram asks for the addresses whose host nobody else knows. A host of
// repositories may have other credentials for each of them.
func (a *access) fromProgram(ctx context.Context, own, named []secret.Machine, more []string, repos []secret.Machine, out *logins) ([]secret.Machine, error) {
	var told []secret.Machine
	for _, link := range lo.Uniq(slices.Concat([]string{a.settings.index}, a.settings.extra, more)) {
		plain, vcs := repository(link), vcsScheme.MatchString(link)
		host := secret.Host(plain)
		if has(named, host) || !vcs && has(own, host) || vcs && has(repos, host) || vcs && slices.ContainsFunc(a.inURLs, func(l urlLogin) bool { return l.vcs && repository(l.url) == plain }) {
			continue
		}
		login, ok, err := a.keys.ask(ctx, plain)
		if err != nil {
			return nil, err
		}
		m := secret.Machine{Host: host, Login: login}
		switch {
		case !ok:
		case vcs:
			if err := out.store(link, login); err != nil {
				return nil, err
			}
			repos = append(repos, m)
		case has(told, host) && !slices.Contains(told, m):
			return nil, fmt.Errorf("the credentials program knows two different ones for %s: indexes of one host share theirs", host)
		default:
			told = append(told, m)
		}
	}
	// What a repository needs besides itself, as submodules, mostly has its login.
	for _, m := range repos {
		if _, err := secret.Netrc([]secret.Machine{m}, nil); err == nil && !has(told, m.Host) && !has(own, m.Host) && !has(named, m.Host) {
			told = append(told, m)
		}
	}
	return lo.Uniq(told), nil
}

// store keeps a login for one repository.
func (out *logins) store(link string, l secret.Login) error {
	u, err := url.Parse(repository(link))
	if err != nil {
		return errors.New("a URL with credentials is not valid")
	}
	u.User = url.UserPassword(l.User, l.Password)
	out.stored += u.String() + "\n"
	return nil
}

// repository is the address of a VCS requirement without what pip adds to it:
// the tool, the revision and options. Other addresses stay as they are.
func repository(link string) string {
	tool := vcsScheme.FindString(link)
	if tool == "" {
		return link
	}
	link, _, _ = strings.Cut(strings.TrimPrefix(link, tool), "#")
	scheme, rest, _ := strings.Cut(link, "://")
	host, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(path, "@"); i >= 0 {
		path = path[:i]
	}
	return scheme + "://" + host + "/" + path
}
