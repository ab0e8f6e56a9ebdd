package envcache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// env is the environment of a package manager: HOME is private, so that neither
// it nor git nor a package's build finds settings or keys there. What it needs to
// log in is in files of HOME, which unlock writes.
func (s *site) env(getenv func(string) string, p *access, more ...string) []string {
	home := filepath.Join(s.work, "home")
	more = append([]string{
		"HOME=" + home, "TMPDIR=" + filepath.Join(s.work, "tmp"), "NETRC=" + filepath.Join(home, ".netrc"),
		"PIP_CONFIG_FILE=" + os.DevNull, "PYTHONNOUSERSITE=1", "VIRTUAL_ENV=" + s.path, "PYTHONUTF8=1",
	}, more...)
	if len(p.settings.trusted) > 0 {
		more = append(more, "PIP_TRUSTED_HOST="+strings.Join(p.settings.trusted, " "))
	}
	if p.settings.cert != "" {
		more = append(more, "PIP_CERT="+p.settings.cert)
	}
	env := CleanEnv(getenv, append(more, gitEnv(home, p.instead...)...)...)
	// What a package's build calls by name is this environment's.
	for i, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			env[i] = "PATH=" + filepath.Join(s.path, "bin") + ":" + path
		}
	}
	if s.req.enclosed() {
		home := filepath.Join(s.work, "home")
		return certified(env, home, func(name, text string) error { return s.private(home, name, text) })
	}
	return env
}

// certified has the programs of a sandbox use the certificates that the host's
// use: the files that variables name may not be in it, and are written to its home.
func certified(env []string, home string, write func(name, text string) error) []string {
	var out []string
	for _, kv := range env {
		name, path, _ := strings.Cut(kv, "=")
		switch name {
		case "SSL_CERT_DIR":
			continue
		case "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO":
			pem, err := os.ReadFile(path)
			if err != nil || write(name+".pem", string(pem)) != nil {
				continue
			}
			kv = name + "=" + filepath.Join(home, name+".pem")
		}
		out = append(out, kv)
	}
	return out
}

// unlock looks up the logins for the indexes and for more addresses, and writes
// them where the programs of a build look for them.
func (s *site) unlock(ctx context.Context, p *access, more ...string) error {
	l, err := p.logins(ctx, more...)
	if err != nil {
		return err
	}
	s.unlocked = s.unlocked || l.netrc+l.stored != ""
	home := filepath.Join(s.work, "home")
	return errors.Join(s.private(home, ".netrc", l.netrc), s.private(home, "git-credentials", l.stored))
}

// gitEnv hardens the git that pip runs for VCS requirements: no settings of the
// host, no questions, no hooks, no transport that runs a program.
func gitEnv(home string, more ...[2]string) []string {
	config := [][2]string{
		{"core.hooksPath", os.DevNull}, {"core.fsmonitor", "false"}, {"core.attributesFile", os.DevNull},
		{"protocol.allow", "never"}, {"protocol.https.allow", "always"}, {"protocol.http.allow", "always"},
		{"protocol.ssh.allow", "always"}, {"protocol.git.allow", "always"}, {"protocol.file.allow", "user"},
		{"transfer.fsckObjects", "true"}, {"transfer.bundleURI", "false"},
		{"credential.helper", ""}, {"credential.helper", "store --file=" + filepath.Join(home, "git-credentials")},
		{"credential.useHttpPath", "true"},
	}
	config = append(config, more...)
	env := []string{
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true",
		"GIT_SSH_COMMAND=ssh -oBatchMode=yes", "GIT_CONFIG_COUNT=" + strconv.Itoa(len(config)),
	}
	for i, kv := range config {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+kv[0], "GIT_CONFIG_VALUE_"+n+"="+kv[1])
	}
	return env
}

// downloads is the folder of downloads and wheels of one manager that this user's
// builds share, and nobody else's: what is in it gets installed.
func (s *site) downloads(manager string) (string, error) {
	parent := filepath.Join(filepath.Dir(filepath.Dir(s.path)), "cache")
	dir := filepath.Join(parent, manager+"-"+strconv.Itoa(s.uid))
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return "", err
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return dir, nil
	}
	if err == nil && switches(s.uid) {
		err = os.Chown(dir, s.uid, s.gid)
	}
	return dir, err
}

// scratch makes a folder of the build's own that is gone with it.
func (s *site) scratch(name string) error {
	dir := filepath.Join(s.work, name)
	if err := os.Mkdir(dir, 0o700); err != nil || !switches(s.uid) {
		return err
	}
	return os.Chown(dir, s.uid, s.gid)
}

// private writes a file for the builder's eyes only, below the scratch folder or the
// environment. The code of a package may have been there and left a link, or a
// pipe, in the place of the file or of its folder: this process, which may be root,
// follows it nowhere.
func (s *site) private(dir, name, text string) error {
	top := s.work
	if strings.HasPrefix(dir, s.path+"/") {
		top = s.path
	}
	rel, err := filepath.Rel(top, filepath.Join(dir, name))
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.Remove(rel); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(rel, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil && switches(s.uid) {
		err = f.Chown(s.uid, s.gid)
	}
	return errors.Join(err, f.Close())
}
