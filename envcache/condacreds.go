package envcache

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"agentctl/envcache/internal/secret"
)

// condaLogin is a login in rattler's words.
type condaLogin struct {
	Basic  *basicLogin `json:"BasicHTTP,omitempty"`
	Token  string      `json:"CondaToken,omitempty"`  // in the path: /t/TOKEN/
	Bearer string      `json:"BearerToken,omitempty"` // in a header
}

type basicLogin struct {
	User     string `json:"username"`
	Password string `json:"password"`
}

func newCondaLogin(l secret.Login) condaLogin {
	if l.User == channelUser {
		return condaLogin{Token: l.Password}
	}
	return condaLogin{Basic: &basicLogin{l.User, l.Password}}
}

// secrets are the words of the login that nobody may read.
func (l condaLogin) secrets() []secret.Login {
	if l.Basic != nil {
		return []secret.Login{{User: l.Basic.User, Password: l.Basic.Password}}
	}
	return []secret.Login{{Password: l.Token}, {Password: l.Bearer}}
}

// condaLogins collects logins by host; the first that is known for one counts.
type condaLogins map[string]condaLogin

func (c condaLogins) add(host string, l condaLogin) {
	if _, known := c[host]; !known && host != "" {
		c[host] = l
	}
}

// channelLogins is where the logins for channels are to be found.
type channelLogins struct {
	stood []urlLogin // in their URLs
	asked []string   // all channels
	own   []string   // those that the host's settings name, and not the request
}

// find looks for the logins: what stood in URLs, then what the request's own file
// or program says, and, for the host's own channels, what the user of this process
// keeps for conda: a task must not have that sent to a channel of its own.
func (c channelLogins) find(ctx context.Context, a *access, getenv func(string) string) (condaLogins, error) {
	all := condaLogins{}
	for _, l := range c.stood {
		at, login := secret.Host(l.url), newCondaLogin(l.Login)
		if known, ok := all[at]; ok && (known.Token != login.Token || known.Basic != nil && *known.Basic != *login.Basic) {
			return nil, fmt.Errorf("the channels hold two different credentials for %s", at)
		}
		all.add(at, login)
	}
	logins, err := a.logins(ctx, c.asked...)
	if err != nil {
		return nil, err
	}
	all.machines(logins.machines, c.asked)
	if len(c.own) > 0 {
		if err := all.host(c.own, getenv); err != nil {
			return nil, err
		}
	}
	for _, l := range all {
		for _, s := range l.secrets() {
			a.secrets.Add(s)
		}
	}
	return all, nil
}

// machines takes a netrc file. Its default entry is for channels only.
func (c condaLogins) machines(machines []secret.Machine, channels []string) {
	for _, ch := range channels {
		if login, ok := secret.Lookup(machines, secret.Host(ch)); ok {
			c.add(secret.Host(ch), newCondaLogin(login))
		}
	}
}

// host takes the files in which conda, anaconda and rattler keep logins.
func (c condaLogins) host(channels []string, getenv func(string) string) error {
	home := getenv("HOME")
	data, err := readHostFile(cmp.Or(getenv("RATTLER_AUTH_FILE"), filepath.Join(home, ".rattler", "credentials.json")))
	if err == nil && data != nil {
		var logins map[string]condaLogin
		if json.Unmarshal(data, &logins) != nil {
			err = errors.New("it is no list of rattler's logins")
		}
		for at, l := range logins {
			if (l.Basic != nil || l.Token != "" || l.Bearer != "") && serves(at, channels) {
				c.add(at, l)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("cannot read rattler's credentials: %w", err)
	}
	c.anaconda(channels, cmp.Or(getenv("BINSTAR_CONFIG_DIR"), filepath.Join(cmp.Or(getenv("XDG_DATA_HOME"), filepath.Join(home, ".local", "share")), "binstar")))
	data, err = readHostFile(cmp.Or(getenv("NETRC"), filepath.Join(home, ".netrc")))
	if err != nil {
		return fmt.Errorf("cannot read the credentials of the host: %w", err)
	}
	machines, err := secret.ParseNetrc(string(data))
	if err != nil {
		return fmt.Errorf("cannot read the credentials of the host: %w", err)
	}
	c.machines(machines, channels)
	return nil
}

// serves tells whether a host, as rattler's logins name it, has one of the channels,
// or may have one whose place the client knows.
func serves(host string, channels []string) bool {
	return slices.ContainsFunc(channels, func(ch string) bool {
		at := secret.Host(ch)
		domain, wild := strings.CutPrefix(host, "*.")
		return at == "" || at == host || wild && strings.HasSuffix(at, "."+domain)
	})
}

// readHostFile gives nil where there is no such file, or not for this user.
func readHostFile(name string) ([]byte, error) {
	if !filepath.IsAbs(name) {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	return data, err
}

var apiHost = regexp.MustCompile(`^api\.|([./])api\.`)

// anaconda takes the tokens that `anaconda login` wrote: files named by the
// address of the service, whose channels are at conda. in place of api.
func (c condaLogins) anaconda(channels []string, dir string) {
	for _, sub := range []string{dir, filepath.Join(dir, "data")} {
		files, err := filepath.Glob(filepath.Join(sub, "*.token"))
		if err != nil {
			return
		}
		for _, f := range files {
			service, err := url.QueryUnescape(strings.TrimSuffix(filepath.Base(f), ".token"))
			data, rerr := os.ReadFile(f)
			token := strings.TrimSpace(string(data))
			if err != nil || rerr != nil || token == "" {
				continue
			}
			host := secret.Host(service)
			for _, at := range []string{apiHost.ReplaceAllString(host, "${1}conda."), host} {
				if serves(at, channels) {
					c.add(at, condaLogin{Token: token})
				}
			}
		}
	}
}
