package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"agentctl/envcache/internal/secret"
)

// keys are where an operator keeps the credentials that stand in no URL: a netrc
// file and a program. Nothing of it is read or run before it is needed.
type keys struct {
	file    string
	command []string
	limit   time.Duration // of one answer; 0: helperLimit

	entries []secret.Machine // of the file
	read    bool
	told    map[string]told // by the program, by URL
}

type told struct {
	login secret.Login
	ok    bool
}

// machines are the entries of the file: those of hosts, and the default ones.
func (k *keys) machines() (named, fallback []secret.Machine, err error) {
	if !k.read && k.file != "" {
		data, err := os.ReadFile(k.file)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot read the credentials: %w", err)
		}
		if k.entries, err = secret.ParseNetrc(string(data)); err != nil {
			return nil, nil, fmt.Errorf("cannot read the credentials in %s: %w", k.file, err)
		}
	}
	k.read = true
	for _, m := range k.entries {
		if m.Host == "" {
			fallback = append(fallback, m)
		} else {
			named = append(named, m)
		}
	}
	return named, fallback, nil
}

// ask asks the program, once for each URL.
func (k *keys) ask(ctx context.Context, link string) (secret.Login, bool, error) {
	if len(k.command) == 0 {
		return secret.Login{}, false, nil
	}
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https"}, u.Scheme) {
		return secret.Login{}, false, nil //nolint:nilerr // ssh has keys of its own, a file needs none
	}
	if t, ok := k.told[link]; ok {
		return t.login, t.ok, nil
	}
	login, ok, err := helper{k.command, cmp.Or(k.limit, helperLimit)}.ask(ctx, u)
	if err != nil {
		return secret.Login{}, false, err
	}
	if k.told == nil {
		k.told = map[string]told{}
	}
	k.told[link] = told{login, ok}
	return login, ok, nil
}

// login finds the credentials for a URL: what the file says of its host, else
// what the program says, else what the file says of all hosts.
func (k *keys) login(ctx context.Context, link string) (secret.Login, bool, error) {
	named, fallback, err := k.machines()
	if err != nil {
		return secret.Login{}, false, err
	}
	if login, ok := secret.Lookup(named, secret.Host(link)); ok {
		return login, true, nil
	}
	login, ok, err := k.ask(ctx, link)
	if err == nil && !ok && len(fallback) > 0 {
		login, ok = fallback[0].Login, true
	}
	return login, ok, err
}

// Credentials finds the user and password for a URL in a netrc file, or has a
// program tell them as git's credential helpers do; either may be empty. ok is
// false if there are none.
func Credentials(ctx context.Context, file string, command []string, link string) (user, password string, ok bool, err error) {
	clean, own := secret.SplitURL(link)
	if !own.Empty() {
		return "", "", false, errors.New("cannot find credentials: there are some in the URL")
	}
	k := keys{file: file, command: command}
	login, ok, err := k.login(ctx, clean)
	return login.User, login.Password, ok, err
}

// Netrc finds the credentials of hosts as Credentials does, and writes those
// that there are as a netrc file.
func Netrc(ctx context.Context, file string, command, hosts []string) (string, error) {
	k := keys{file: file, command: command}
	var all []secret.Machine
	for _, h := range hosts {
		login, ok, err := k.login(ctx, "https://"+h+"/")
		if err != nil {
			return "", err
		}
		if ok {
			all = append(all, secret.Machine{Host: strings.ToLower(h), Login: login})
		}
	}
	return secret.Netrc(nil, all)
}
