package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"agentctl/envcache"
	"agentctl/envcache/internal/secret"
	"agentctl/envcache/internal/talk"
	"agentctl/envcache/internal/urgency"
	"agentctl/internal/fsx"
)

// hardened are the settings of every git that is started, whatever the
// repository, the user or the machine says: no hooks, no programs that a
// repository names, no transport but those allowed by address, checked objects.
// CVE-2024-32002, CVE-2025-48384 (hooks by a clone), CVE-2022-39253 (local
// transport by a submodule), Clone2Leak (helpers that answer for another host).
var hardened = [][2]string{
	{"core.hooksPath", os.DevNull}, {"core.fsmonitor", "false"}, {"core.attributesFile", os.DevNull},
	{"core.excludesFile", os.DevNull}, {"core.logAllRefUpdates", "false"}, {"core.askPass", ""},
	{"protocol.allow", "never"}, {"protocol.https.allow", "always"}, {"protocol.http.allow", "always"},
	{"protocol.ssh.allow", "always"}, {"protocol.git.allow", "always"},
	{"transfer.fsckObjects", "true"}, {"transfer.bundleURI", "false"}, {"transfer.credentialsInUrl", "die"},
	{"fetch.recurseSubmodules", "false"}, {"submodule.recurse", "false"}, {"credential.helper", ""},
	{"http.followRedirects", "initial"}, {"gc.auto", "0"}, {"maintenance.auto", "false"},
	{"init.defaultBranch", "main"}, {"advice.detachedHead", "false"},
	// Old repositories are full of these; they harm nobody.
	{"fetch.fsck.badTimezone", "ignore"}, {"fetch.fsck.badDate", "ignore"}, {"fetch.fsck.badDateOverflow", "ignore"},
	{"fetch.fsck.badEmail", "ignore"}, {"fetch.fsck.badName", "ignore"}, {"fetch.fsck.missingEmail", "ignore"},
	{"fetch.fsck.missingNameBeforeEmail", "ignore"}, {"fetch.fsck.missingSpaceBeforeDate", "ignore"},
	{"fetch.fsck.missingSpaceBeforeEmail", "ignore"}, {"fetch.fsck.multipleAuthors", "ignore"},
	{"fetch.fsck.zeroPaddedFilemode", "ignore"}, {"fetch.fsck.missingTaggerEntry", "ignore"},
	// Ours are made by this process, or by its user in a test; the ones of
	// others are read by who may read them, see readable.
	{"safe.directory", "*"},
}

// git runs git.
type git struct {
	exec   envcache.Exec
	env    []string
	config string // the file with its settings
	silent time.Duration
}

// newGit makes a runner. The settings go into a file as well as to each command
// line: git drops the latter when it starts itself for a local remote.
func newGit(dir string, opts Options) (*git, error) {
	file := filepath.Join(dir, "gitconfig")
	var text strings.Builder
	for _, kv := range hardened {
		section, name, _ := strings.Cut(kv[0], ".")
		if i := strings.LastIndex(name, "."); i >= 0 {
			fmt.Fprintf(&text, "[%s %q]\n\t%s = %q\n", section, name[:i], name[i+1:], kv[1])
			continue
		}
		fmt.Fprintf(&text, "[%s]\n\t%s = %q\n", section, name, kv[1])
	}
	if old, err := os.ReadFile(file); err != nil || string(old) != text.String() {
		if err := fsx.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			return nil, err
		}
	}
	more := []string{
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + file, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=",
		"GIT_SSH_COMMAND=ssh -oBatchMode=yes", "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_LFS_SKIP_SMUDGE=1", "GIT_LFS_FORCE_PROGRESS=1", "LC_ALL=C.UTF-8",
	}
	for _, name := range []string{"HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK"} {
		if v := opts.Getenv(name); v != "" {
			more = append(more, name+"="+v)
		}
	}
	return &git{opts.Exec, envcache.CleanEnv(opts.Getenv, more...), file, opts.Silent}, nil
}

// call is one run of git.
type call struct {
	what  string // for messages, as "fetch"
	dir   string
	args  []string
	login *login // nil: none
	file  bool   // local repositories are allowed
	stdin io.Reader
	hold  *os.File     // a lock that git holds as well, so that it outlives this process with it
	say   func(string) // gets the lines that people want to see
	asUID int          // 0: as this process
	box   *Box         // nil: on the host
	// writes and reads are what the box shows.
	writes, reads []string
}

// login is a credential for the hosts of one origin.
type login struct {
	origin string
	secret.Login
}

// GitError is a git that failed.
type GitError struct {
	What  string
	Lines []string // git's own last words, without secrets
	Exit  envcache.Exit
	Err   error // why it was not run to its end, or nil
}

// Error gives git's words.
func (e *GitError) Error() string {
	how := fmt.Sprintf("exit status %d", e.Exit.Code)
	if e.Exit.Signal != "" {
		how = "signal " + e.Exit.Signal
	}
	if e.Err != nil {
		how = e.Err.Error()
	}
	s := "git " + e.What + " failed: " + how
	if diskFull.MatchString(strings.Join(e.Lines, "\n")) {
		s += ": the disk is full"
	}
	for _, l := range e.Lines {
		s += "\n    " + l
	}
	return s
}

// Unwrap gives the error of the run.
func (e *GitError) Unwrap() error { return e.Err }

// errMissing tells that there is no git.
var errMissing = errors.New("git is not installed on this host (on Debian: apt-get install git)")

// run runs git and gives its standard output.
func (g *git) run(ctx context.Context, c call) (string, error) {
	redact := &secret.Redactor{}
	args := []string{"git"}
	for _, kv := range hardened {
		args = append(args, "-c", kv[0]+"="+kv[1])
	}
	if c.file {
		args = append(args, "-c", "protocol.file.allow=always")
	}
	if c.box != nil && !g.has("git") {
		return "", errMissing
	}
	var files []*os.File
	if c.hold != nil && c.box == nil {
		files = append(files, c.hold)
	}
	env := g.env
	switch {
	case c.login == nil || c.login.Empty():
	case c.box != nil:
		redact.Add(c.login.Login)
		variables, options, err := c.login.variables()
		if err != nil {
			return "", err
		}
		env, args = append(slices.Clone(env), variables...), append(args, options...)
	default:
		redact.Add(c.login.Login)
		f, err := c.login.file()
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		files = append(files, f)
		args = append(args, c.login.options(2+len(files))...)
	}
	var out bytes.Buffer
	lines := talk.NewLines(redact.Redact, filter(c.say))
	ctx, stop := talk.Watch(ctx, g.silent, lines.Last)
	defer stop()
	uid := envcache.SameUser
	if c.asUID > 0 {
		uid = c.asUID
	}
	cmd := envcache.Cmd{
		Args: append(args, c.args...), Env: env, Dir: c.dir, Stdin: c.stdin,
		Stdout: &out, Stderr: lines, Files: files, UID: uid, GID: uid,
	}
	run := g.exec
	if c.box != nil {
		run, cmd.UID, cmd.GID = c.box.Exec, c.box.UID, c.box.GID
		cmd.Writes, cmd.Reads = c.writes, append([]string{g.config}, c.reads...)
	}
	if l := urgency.Of(ctx); !l.Lifted() {
		cmd.Nice, cmd.Lift = true, l.Done()
	}
	exit, err := run.Run(ctx, cmd)
	_ = lines.Close()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errMissing
	}
	if err != nil || exit.Code != 0 {
		return "", &GitError{c.what, withoutProgress(lines.Tail(40)), exit, err}
	}
	return strings.TrimSpace(out.String()), nil
}

var diskFull = regexp.MustCompile(`(?i)no space left on device|out of diskspace|disk quota exceeded`)

var percent = regexp.MustCompile(`:\s+\d+% `)

// filter passes progress lines on at most every few seconds, and their last.
func filter(say func(string)) func(string) {
	if say == nil {
		return nil
	}
	var last time.Time
	return func(line string) {
		if percent.MatchString(line) && !strings.HasSuffix(line, "done.") && time.Since(last) < 5*time.Second {
			return
		}
		last = time.Now()
		say(line)
	}
}

func withoutProgress(lines []string) []string {
	var out []string
	for _, l := range lines {
		if !percent.MatchString(l) {
			out = append(out, l)
		}
	}
	return out[max(0, len(out)-15):]
}
