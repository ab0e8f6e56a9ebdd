package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/samber/lo"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// maxSecret bounds files with keys and passwords.
const maxSecret = 1 << 20

// authError is a login that is missing or was refused.
type authError struct{ err error }

func (e *authError) Error() string { return e.err.Error() }
func (e *authError) Unwrap() error { return e.err }

func noLogin(format string, args ...any) error { return &authError{fmt.Errorf(format, args...)} }

// secretFile reads a file of the operator; its error has the path alone.
func secretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, noLogin("cannot read %s: %w", path, errors.Unwrap(err))
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(data) > maxSecret {
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, noLogin("cannot read %s: %w", path, err)
	}
	return data, nil
}

// login finds the user and the password for a server; nil if there is no file.
func (g Git) login(ep *transport.Endpoint) (*githttp.BasicAuth, error) {
	if g.Credentials == "" {
		return nil, nil
	}
	data, err := secretFile(g.Credentials)
	if err != nil {
		return nil, err
	}
	auth, err := credential(string(data), ep)
	if err != nil {
		return nil, noLogin("cannot use %s: %w", g.Credentials, err)
	}
	return auth, nil
}

// credential finds the line for a server in the text of git's credential store. No
// error repeats a line.
func credential(text string, ep *transport.Endpoint) (*githttp.BasicAuth, error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		u, err := url.Parse(line)
		if err != nil || u.User == nil || u.Host == "" {
			return nil, fmt.Errorf("line %d is not as https://USER:TOKEN@HOST", n)
		}
		port := 0
		if u.Port() != "" {
			port, _ = strconv.Atoi(u.Port())
		}
		path := strings.TrimSuffix(u.Path, "/")
		inside := path == "" || ep.Path == path || strings.HasPrefix(ep.Path, path+"/")
		if u.Scheme == ep.Protocol && strings.EqualFold(u.Hostname(), strings.Trim(ep.Host, "[]")) && port == ep.Port && inside {
			password, _ := u.User.Password()
			return &githttp.BasicAuth{Username: u.User.Username(), Password: password}, nil
		}
	}
	return nil, fmt.Errorf("it has no line for %s://%s", ep.Protocol, ep.Host)
}

// connectSSH knows the server's key beforehand, or does not connect: who trusts the
// first key that comes hands his node to whoever answers first.
func (g Git) connectSSH(ctx context.Context, ep *transport.Endpoint) (conn, error) {
	addr := net.JoinHostPort(strings.Trim(ep.Host, "[]"), strconv.Itoa(lo.CoalesceOrEmpty(ep.Port, 22)))
	cfg, err := g.sshConfig(ep, addr)
	if err != nil {
		return nil, err
	}
	tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	unhook := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	c, chans, reqs, err := ssh.NewClientConn(tcp, addr, cfg)
	if err != nil {
		unhook()
		_ = tcp.Close()
		return nil, handshake(ctx, err)
	}
	client := ssh.NewClient(c, chans, reqs)
	p, err := remoteCommand(client, "git-upload-pack '"+ep.Path+"'")
	if err != nil {
		unhook()
		_ = client.Close()
		return nil, err
	}
	p.end = func() error {
		unhook()
		err := client.Close()
		_ = p.wait()
		return err
	}
	return p, nil
}

func remoteCommand(client *ssh.Client, command string) (*pipes, error) {
	s, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	p := &pipes{said: &bytes.Buffer{}}
	s.Stderr = &beginning{p.said}
	if p.in, err = s.StdinPipe(); err != nil {
		return nil, err
	}
	if p.out, err = s.StdoutPipe(); err != nil {
		return nil, err
	}
	p.wait = sync.OnceValue(s.Wait) // a second call would wait without end
	return p, s.Start(command)
}

// handshake sorts out why there is no SSH connection.
func handshake(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case knownhosts.IsHostKeyChanged(err):
		return noLogin("the server's key is not the one in known_hosts: it was replaced, or somebody stands in between")
	case knownhosts.IsHostUnknown(err):
		return noLogin("the server's key is not in known_hosts; add it there (ssh-keyscan, and compare)")
	case strings.Contains(err.Error(), "unable to authenticate"):
		return noLogin("the server does not take the key")
	}
	return err
}

func (g Git) sshConfig(ep *transport.Endpoint, addr string) (*ssh.ClientConfig, error) {
	pem, err := secretFile(g.SSHKey)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil { // the error may tell of the key
		return nil, noLogin("cannot use %s: it is no private key without a passphrase", g.SSHKey)
	}
	files := knownHostsFiles()
	if g.KnownHosts != "" {
		files = []string{g.KnownHosts}
	}
	if len(files) == 0 {
		return nil, noLogin("there is no known_hosts file; name one with --known-hosts")
	}
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, noLogin("cannot read the known hosts: %w", err)
	}
	return &ssh.ClientConfig{
		User: lo.CoalesceOrEmpty(ep.User, "git"), Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: db.HostKeyCallback(), HostKeyAlgorithms: db.HostKeyAlgorithms(addr),
	}, nil
}

// knownHostsFiles are those that ssh itself reads, where they are there.
func knownHostsFiles() []string {
	files := []string{"/etc/ssh/ssh_known_hosts"}
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".ssh", "known_hosts"))
	}
	return lo.Filter(files, func(f string, _ int) bool { _, err := os.Stat(f); return err == nil })
}
