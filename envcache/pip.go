package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
	"agentctl/envcache/internal/tree"
)

// pipBuilder builds with the private pip.
type pipBuilder struct {
	state  string
	tools  *pipTools
	getenv func(string) string
}

// pipPlan is one installation by pip, credentials apart.
type pipPlan struct {
	list     reqList
	settings pipSettings // where packages come from, as it will be told to pip
	netrc    string      // the operator's file and what stood in URLs
	stored   string      // git's credentials, in the format of git-credential-store
	machines []secret.Machine
	tool     pipTool
}

func (b *pipBuilder) plan(ctx context.Context, req Request, say func(Progress)) (plan, error) {
	list, err := resolveRequirements(req.Requirements, req.Constraints, req.BaseDir, b.state)
	if err != nil {
		return plan{}, err
	}
	p := &pipPlan{list: list}
	secrets := &secret.Redactor{}
	if p.machines, err = p.credentials(req, b.indexes(req, p), secrets); err != nil {
		return plan{}, err
	}
	if p.tool, err = b.tools.get(ctx, req.Python, pipSource{p.settings, p.machines}, say); err != nil {
		return plan{}, err
	}
	out := plan{
		parts: p.parts(req), unpinned: list.unpinned, notes: list.notes, secrets: secrets,
		reads: []string{p.tool.dir},
		build: func(ctx context.Context, s *site) error { return b.build(ctx, s, p) },
	}
	if p.tool.note != "" {
		out.notes = append(out.notes, p.tool.note)
	}
	return out, nil
}

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

// parts are what decides the content of the environment, beyond the interpreter.
func (p *pipPlan) parts(req Request) []Part {
	parts := []Part{
		{Name: "manager", Value: p.tool.identity()},
		{Name: "requirements", Lines: p.list.canon},
		{Name: "options", Lines: p.list.options},
		{Name: "constraints", Lines: p.list.constrCanon},
		{Name: "index", Value: trimSlash(p.settings.index)},
		{Name: "extra indexes", Lines: lo.Map(p.settings.extra, func(s string, _ int) string { return trimSlash(s) })},
		{Name: "system packages", Value: strconv.FormatBool(req.SystemSite)},
	}
	if req.SystemSite {
		parts = append(parts, Part{Name: "system packages changed", Lines: lo.Map(req.Python.Sites, stamp)})
	}
	if p.list.local {
		// Its path stands for the repository's content.
		parts = append(parts, Part{Name: "repository", Value: req.BaseDir})
	}
	return parts
}

func trimSlash(s string) string { return strings.TrimRight(s, "/") }

// stamp tells when packages were last added to or removed from a folder.
func stamp(dir string, _ int) string {
	info, err := os.Stat(dir)
	if err != nil {
		return dir + " is not there"
	}
	return dir + " " + strconv.FormatInt(info.ModTime().UnixNano(), 10)
}

const checkout = "src/checkout" // copy of the repository inside an environment

func (b *pipBuilder) build(ctx context.Context, s *site, p *pipPlan) error {
	if err := b.tools.compile(ctx, p.tool, s.req.Python); err != nil {
		return err
	}
	if err := installTool(s, p); err != nil {
		return fmt.Errorf("cannot put pip into the environment: %w", err)
	}
	if len(p.list.canon) == 0 {
		return nil
	}
	dir := s.work
	if p.list.local {
		// Building a package writes into its folder, and an editable one stays
		// there: neither may happen to the repository that tasks share.
		dir = filepath.Join(s.path, checkout)
		if err := s.mkdir("src"); err != nil {
			return err
		}
		if err := tree.Copy(ctx, s.req.BaseDir, dir, s.uid, s.gid, nil); err != nil {
			return err
		}
	}
	if err := b.install(ctx, s, p, dir); err != nil {
		return err
	}
	switch {
	case p.list.editable:
		return s.root.RemoveAll(checkout + "/.git") // only a version number comes from it
	case p.list.local:
		return s.root.RemoveAll(checkout)
	}
	return nil
}

// install runs pip. Whatever may be secret or long goes to it by files.
func (b *pipBuilder) install(ctx context.Context, s *site, p *pipPlan, dir string) error {
	home := filepath.Join(s.work, "home")
	cache, err := b.cacheDir(s)
	if err != nil {
		return err
	}
	var lines []string
	if p.settings.index != "" {
		lines = append(lines, "--index-url "+p.settings.index)
	}
	for _, x := range p.settings.extra {
		lines = append(lines, "--extra-index-url "+x)
	}
	args := []string{
		filepath.Join(s.path, "bin", "python"), "-I", p.tool.program(), "install", "--no-input", "--no-color",
		"--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", "off", "--compile",
		"--cache-dir", cache, "-r", filepath.Join(home, "requirements.txt"),
	}
	files := map[string]string{"requirements.txt": strings.Join(append(lines, p.list.lines...), "\n") + "\n"}
	if len(p.list.constraints) > 0 {
		files["constraints.txt"] = strings.Join(p.list.constraints, "\n") + "\n"
		args = append(args, "-c", filepath.Join(home, "constraints.txt"))
	}
	files[".netrc"], files["git-credentials"] = p.netrc, p.stored
	for name, text := range files {
		if err := s.private(home, name, text); err != nil {
			return err
		}
	}
	err = s.run(ctx, "pip", Cmd{Args: args, Dir: dir, Env: b.env(s, p, home)})
	var failed *BuildError
	if errors.As(err, &failed) {
		failed.Cause = cmp.Or(diagnose(ctx, failed, p), failed.Cause)
	}
	return err
}

var nothingFound = regexp.MustCompile(`No matching distribution found for ([A-Za-z0-9._-]*[A-Za-z0-9])`)

// diagnose asks the indexes why pip found nothing of a package: pip says the
// same whether the index has no such package, wants other credentials or can't
// be reached.
func diagnose(ctx context.Context, failed *BuildError, p *pipPlan) string {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	m := nothingFound.FindStringSubmatch(strings.Join(failed.Lines, "\n"))
	for _, base := range append([]string{p.settings.index}, p.settings.extra...) {
		if m == nil || base == "" {
			continue
		}
		x, err := newIndex(p.settings, p.machines, secret.Host(base))
		if err != nil {
			continue
		}
		var status *statusError
		_, _, err = x.get(ctx, trimSlash(base)+"/"+normalName(m[1])+"/", mostPage)
		switch isStatus := errors.As(err, &status); {
		case isStatus && (status.code == http.StatusUnauthorized || status.code == http.StatusForbidden):
			return causeRefused
		case err != nil && !isStatus:
			return causeUnreachable + ": " + err.Error()
		}
	}
	return ""
}

// env is the environment of pip: HOME is private, so that neither pip nor git
// nor a package's build finds settings or keys there.
func (b *pipBuilder) env(s *site, p *pipPlan, home string) []string {
	more := []string{
		"HOME=" + home, "TMPDIR=" + filepath.Join(s.work, "tmp"), "NETRC=" + filepath.Join(home, ".netrc"),
		"PIP_CONFIG_FILE=" + os.DevNull, "PYTHONNOUSERSITE=1", "VIRTUAL_ENV=" + s.path, "PYTHONUTF8=1",
	}
	if len(p.settings.trusted) > 0 {
		more = append(more, "PIP_TRUSTED_HOST="+strings.Join(p.settings.trusted, " "))
	}
	if p.settings.cert != "" {
		more = append(more, "PIP_CERT="+p.settings.cert)
	}
	env := CleanEnv(b.getenv, append(more, gitEnv(home)...)...)
	// What a package's build calls by name is this environment's.
	for i, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			env[i] = "PATH=" + filepath.Join(s.path, "bin") + ":" + path
		}
	}
	return env
}

// gitEnv hardens the git that pip runs for VCS requirements: no settings of the
// host, no questions, no hooks, no transport that runs a program.
func gitEnv(home string) []string {
	config := [][2]string{
		{"core.hooksPath", os.DevNull}, {"core.fsmonitor", "false"}, {"core.attributesFile", os.DevNull},
		{"protocol.allow", "never"}, {"protocol.https.allow", "always"}, {"protocol.http.allow", "always"},
		{"protocol.ssh.allow", "always"}, {"protocol.git.allow", "always"}, {"protocol.file.allow", "user"},
		{"transfer.fsckObjects", "true"}, {"transfer.bundleURI", "false"},
		{"credential.helper", ""}, {"credential.helper", "store --file=" + filepath.Join(home, "git-credentials")},
		{"credential.useHttpPath", "true"},
	}
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

// cacheDir is the folder of downloads and wheels that this user's builds share,
// and nobody else's: what is in it gets installed.
func (b *pipBuilder) cacheDir(s *site) (string, error) {
	parent := filepath.Join(b.state, "cache")
	dir := filepath.Join(parent, "pip-"+strconv.Itoa(s.uid))
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

// private writes a file for the builder's eyes only.
func (s *site) private(dir, name, text string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.WriteFile(name, []byte(text), 0o600); err != nil || !switches(s.uid) {
		return err
	}
	return root.Lchown(name, s.uid, s.gid)
}
