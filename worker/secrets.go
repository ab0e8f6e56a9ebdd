package worker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"agentctl/envcache"
	"agentctl/envcache/repo"
	"agentctl/internal/fsx"
	"agentctl/runtime"
	"agentctl/spec"
)

// gitAccess is how repositories are reached, with the operator's credentials for
// their hosts.
func gitAccess(git spec.Git) repo.Access {
	a := repo.Access{Protocol: git.Protocol, SSHUser: git.SSHUser, SSHPort: git.SSHPort}
	if git.CredentialsFile == "" && len(git.CredentialsCommand) == 0 {
		return a
	}
	a.Login = func(ctx context.Context, url string) (repo.Credentials, error) {
		user, password, _, err := envcache.Credentials(ctx, git.CredentialsFile, git.CredentialsCommand, url)
		if err != nil {
			return repo.Credentials{}, fmt.Errorf("cannot log in to the repository: %w", err)
		}
		return repo.Credentials{Username: user, Password: password}, nil
	}
	return a
}

// netrcFile is the agent's own copy of the credentials that a task was given: the
// task may change its own, and they must stay out of its console all the same.
const netrcFile = "netrc"

// giveCredentials writes those credentials that the spec hands to tasks, by the
// names of their hosts, into the task's home.
func (r *run) giveCredentials(ctx context.Context, p *prepared) error {
	pm := r.rec.Worker.PackageManager
	if len(pm.TaskCredentials) == 0 {
		return nil
	}
	text, err := envcache.Netrc(ctx, pm.IndexCredentialsFile, pm.IndexCredentialsCommand, pm.TaskCredentials)
	if err != nil {
		return fmt.Errorf("cannot give the task its credentials: %w", err)
	}
	if text == "" {
		r.say("WARNING: no credentials are known for %s: the task gets none", strings.Join(pm.TaskCredentials, ", "))
		return nil
	}
	if err := fsx.ReplaceFile(filepath.Join(r.dirs.root, netrcFile), []byte(text), 0o600); err != nil {
		return fmt.Errorf("cannot give the task its credentials: %w", err)
	}
	own := filepath.Join(r.dirs.home(), ".netrc")
	if err := fsx.ReplaceFile(own, []byte(text), 0o600); err != nil {
		return fmt.Errorf("cannot give the task its credentials: %w", err)
	}
	p.netrc = own
	return p.owner.chown(own)
}

// secrets are what a task was given and must not say on its console: its token, and
// the credentials that the spec hands to it. They are read from disk, since an
// earlier agent may have given them.
func (r *run) secrets() []string {
	var all []string
	cfg, err := runtime.ReadConfig(r.dirs.root)
	if err != nil {
		r.log.Error("task's token not known, its console is sent as it is", "error", err)
	}
	for _, v := range cfg.Env {
		if token, ok := strings.CutPrefix(v, tokenVar+"="); ok && token != "" {
			all = append(all, token)
		}
	}
	text, err := os.ReadFile(filepath.Join(r.dirs.root, netrcFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Error("task's credentials not known, its console is sent as it is", "error", err)
	}
	return append(all, netrcSecrets(string(text))...)
}

// shortest is the length below which a password is not looked for: it would mask
// half of every line.
const shortest = 4

// netrcSecrets are the passwords in lines as envcache.Netrc writes them, plain and as
// they stand in an HTTP header.
func netrcSecrets(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		rest, password, _ := strings.Cut(strings.TrimRight(line, "\n"), " password ")
		_, user, _ := strings.Cut(rest, " login ")
		user, password = unquote(user), unquote(password)
		if len(password) < shortest {
			continue
		}
		all = append(all, password, url.PathEscape(password), base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	}
	return all
}

var unquoting = strings.NewReplacer(`\\`, `\`, `\"`, `"`)

func unquote(v string) string {
	if len(v) < 2 || v[0] != '"' {
		return v
	}
	return unquoting.Replace(v[1 : len(v)-1])
}
