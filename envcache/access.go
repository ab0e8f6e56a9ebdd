package envcache

import (
	"slices"
	"strings"
	"sync"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

// access is where packages come from and who asks for them. Planning needs only
// the addresses; credentials are looked up when something is fetched.
type access struct {
	settings pipSettings // without credentials
	inURLs   []urlLogin  // what stood in addresses
	secrets  *secret.Redactor

	gitHTTPS bool // addresses of ssh become ones of https

	mu      sync.Mutex
	keys    keys
	git     keys        // of repositories
	instead [][2]string // git's settings for addresses that become others
}

// newAccess decides where packages come from: what the request says, or else
// what pip would use on this host. more are logins that stood in requirements.
func newAccess(getenv func(string) string, req Request, more []urlLogin) *access {
	p := &access{
		settings: hostPipSettings(getenv), secrets: &secret.Redactor{},
		keys: keys{file: req.CredentialsFile, command: req.CredentialsCommand},
		git:  keys{file: req.GitCredentialsFile, command: req.GitCredentialsCommand}, gitHTTPS: req.GitHTTPS,
	}
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
	p.inURLs = append(logins, more...)
	for _, l := range p.inURLs {
		p.secrets.Add(l.Login)
	}
	return p
}

// parts are the indexes, for a key: without credentials.
func (a *access) parts() []Part {
	return []Part{
		{Name: indexPart, Value: trimSlash(a.settings.index)},
		{Name: extraPart, Lines: lo.Map(a.settings.extra, func(s string, _ int) string { return trimSlash(s) })},
	}
}

func trimSlash(s string) string { return strings.TrimRight(s, "/") }
