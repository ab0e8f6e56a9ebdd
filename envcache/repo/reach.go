package repo

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"

	"agentctl/envcache/internal/secret"
)

// Protocols of an Access.
const (
	ProtocolHTTPS = "https"
	ProtocolSSH   = "ssh"
)

// Access says how repositories are reached. Its zero value takes addresses as they
// are, and knows no logins.
type Access struct {
	// Protocol is "", ProtocolHTTPS for addresses of ssh on hosts with a Login, or
	// ProtocolSSH for addresses of http and https.
	Protocol string
	// SSHUser and SSHPort of an address that becomes one of ssh; "" is git, 0 ssh's own.
	SSHUser string
	SSHPort int
	// Login finds the credentials for an http or https address without any; empty ones
	// if there are none. It may be nil.
	Login func(ctx context.Context, url string) (Credentials, error) `json:"-"`
}

func (a Access) login(ctx context.Context, url string) (secret.Login, error) {
	if a.Login == nil {
		return secret.Login{}, nil
	}
	c, err := a.Login(ctx, url)
	return secret.Login{User: c.Username, Password: c.Password}, err
}

// reach is how addr is reached in place of what it says, with the login for that.
// Nothing of git's own is used for it (url.insteadOf): what is fetched, and what a
// login is for, would be another address than the one that was checked.
func (a Access) reach(ctx context.Context, addr address) (address, error) {
	switch {
	case a.Protocol == ProtocolHTTPS && addr.scheme == "ssh":
		return a.byHTTPS(ctx, addr)
	case a.Protocol == ProtocolSSH && addr.origin != "":
		return a.bySSH(addr)
	case addr.origin == "" || !addr.login.Empty():
		return addr, nil
	}
	var err error
	addr.login, err = a.login(ctx, addr.url)
	return addr, err
}

// byHTTPS leaves an address as it is where nobody knows a login: who has a key gets
// there by ssh.
func (a Access) byHTTPS(ctx context.Context, addr address) (address, error) {
	host, path := sshPlace(addr.url)
	to, err := parseAddress("https://" + host + "/" + (&url.URL{Path: strings.TrimLeft(path, "/")}).EscapedPath())
	if err != nil {
		return addr, nil //nolint:nilerr // ssh has ways to name a host that https has not
	}
	to.login, err = a.login(ctx, to.url)
	if err != nil || to.login.Empty() {
		return addr, err
	}
	return to, nil
}

func (a Access) bySSH(addr address) (address, error) {
	u, err := url.Parse(addr.url)
	if err != nil {
		return address{}, err
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if a.SSHPort != 0 { // the port of https says nothing of that of ssh
		host = net.JoinHostPort(u.Hostname(), strconv.Itoa(a.SSHPort))
	}
	return parseAddress("ssh://" + cmp.Or(a.SSHUser, "git") + "@" + host + u.EscapedPath())
}

// sshPlace are the host and the path of an address of ssh, which has been checked. A
// port is ssh's, and nothing to others.
func sshPlace(link string) (host, path string) {
	if u, err := url.Parse(link); err == nil && u.Scheme != "" && strings.Contains(link, "://") {
		host, path = u.Hostname(), u.Path
	} else {
		m := scpLike.FindStringSubmatch(link)
		host, path = m[2], m[3]
	}
	if inner, rest, ok := strings.Cut(host+":"+path, "]:"); ok && strings.HasPrefix(inner, "[") { // git@[::1]:r
		host, path = inner[1:], rest
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host, path
}
