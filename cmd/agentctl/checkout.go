package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"agentctl/clearml"
)

// maxDiff bounds the changes that are sent along: servers refuse requests of some
// megabytes more.
const maxDiff = 8 << 20

// checkout is the git checkout that a task is made of. It is only read: what git
// has to write on the way goes to a folder of ours.
type checkout struct {
	root   string
	remote string // its name, "" without one
	notes  []string
}

// openCheckout finds the checkout that holds a folder; nil if there is none.
func openCheckout(ctx context.Context, folder string) (*checkout, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, nil //nolint:nilerr,nilnil // without git there is no checkout; the script goes as it is
	}
	root, err := git(ctx, folder, nil, nil, "rev-parse", "--show-toplevel")
	if err != nil {
		if strings.Contains(err.Error(), "dubious ownership") {
			return nil, err
		}
		return nil, nil //nolint:nilnil // not in a checkout
	}
	c := &checkout{root: line(root)}
	if _, err := c.git(ctx, "rev-parse", "--verify", "HEAD^{commit}"); err != nil {
		return nil, errors.New("this git repository has no commit yet; commit something, or use --literal")
	}
	return c, c.findRemote(ctx)
}

// git runs git in a folder and gives its output. Its own words are the error.
func git(ctx context.Context, folder string, env []string, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", folder}, args...)...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0"), env...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("git %s: %s", args[0], either(strings.TrimSpace(said.String()), err.Error()))
	}
	return out.Bytes(), nil
}

func (c *checkout) git(ctx context.Context, args ...string) ([]byte, error) {
	return git(ctx, c.root, nil, nil, args...)
}

// ask is git for a question that may have no answer.
func (c *checkout) ask(ctx context.Context, args ...string) string {
	out, err := c.git(ctx, args...)
	if err != nil {
		return ""
	}
	return line(out)
}

func line(out []byte) string { return strings.TrimRight(string(out), "\r\n") }

// findRemote takes the remote of the present branch, else origin, else the only one.
func (c *checkout) findRemote(ctx context.Context) error {
	branch := c.ask(ctx, "symbolic-ref", "--short", "-q", "HEAD")
	names := strings.Fields(c.ask(ctx, "remote"))
	own := ""
	if branch != "" {
		own = c.ask(ctx, "config", "branch."+branch+".remote")
	}
	for _, want := range []string{own, "origin"} {
		for _, name := range names {
			if name == want {
				c.remote = name
				return ctx.Err()
			}
		}
	}
	if len(names) == 1 {
		c.remote = names[0]
	}
	return ctx.Err()
}

// code describes the checkout as a task: the newest commit that the remote has,
// and what is different here.
func (c *checkout) code(ctx context.Context, dir, script, module string) (code, error) {
	out := code{name: module, project: filepath.Base(c.root)}
	var err error
	if out.script.WorkingDir, out.script.EntryPoint, err = c.place(ctx, dir, script); err != nil {
		return out, err
	}
	if module != "" {
		out.script.EntryPoint = "-m " + quote(module)
	} else {
		out.name = filepath.Base(script)
	}
	base, branch, err := c.base(ctx)
	if err != nil {
		return out, err
	}
	out.script.VersionNum, out.script.Branch = base, branch
	if out.script.Repository, err = c.url(ctx); err != nil {
		return out, err
	}
	if out.script.Diff, err = c.diff(ctx, base); err != nil {
		return out, err
	}
	out.notes = append(c.notes, describeCode(out.script))
	return out, nil
}

func describeCode(s clearml.Script) string {
	text := fmt.Sprintf("%s at %.12s", s.Repository, s.VersionNum)
	if s.Diff != "" {
		text += fmt.Sprintf(" with changes to %s", plural(strings.Count("\n"+s.Diff, "\ndiff --git "), "file"))
	}
	return text
}

// place gives the working folder relative to the root, and the script relative to
// that, both as this shell sees them.
func (c *checkout) place(ctx context.Context, dir, script string) (work, entry string, err error) {
	root, err := filepath.EvalSymlinks(c.root)
	if err != nil {
		return "", "", fmt.Errorf("cannot find the checkout: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", "", fmt.Errorf("cannot find the working folder: %w", err)
	}
	work = relative(root, dir)
	if script == "" {
		return either(work, "."), "", nil
	}
	if !filepath.IsAbs(script) {
		script = filepath.Join(dir, script)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(script))
	if err != nil {
		return "", "", fmt.Errorf("cannot find the script: %w", err)
	}
	script = filepath.Join(folder, filepath.Base(script))
	if work == "" { // submitted from outside the checkout
		work, dir = ".", root
	}
	if c.ask(ctx, "ls-files", "--", script) == "" && c.ask(ctx, "check-ignore", "--", script) != "" {
		return "", "", fmt.Errorf("git ignores %s, so the task would not have it; `git add -f` it, or use --literal", relative(root, script))
	}
	entry, err = filepath.Rel(dir, script)
	return work, quote(entry), err
}

// relative is path below root, or "" if it is not there.
func relative(root, path string) string {
	rel, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return rel
}

// base finds the newest commit that the remote has, as far as git knows without
// asking it, and a branch there that holds it.
func (c *checkout) base(ctx context.Context) (commit, branch string, err error) {
	head := c.ask(ctx, "rev-parse", "HEAD")
	own := c.ask(ctx, "symbolic-ref", "--short", "-q", "HEAD")
	if c.remote == "" {
		c.notes = append(c.notes, "this repository has no remote: only agents of this machine can fetch it")
		return head, own, nil
	}
	commit = head
	local, err := c.git(ctx, "rev-list", "--count", "HEAD", "--not", "--remotes="+c.remote)
	if err != nil {
		return "", "", err
	}
	if n, err := strconv.Atoi(line(local)); err == nil && n > 0 {
		boundary, err := c.git(ctx, "rev-list", "--boundary", "HEAD", "--not", "--remotes="+c.remote)
		if err != nil {
			return "", "", err
		}
		_, after, found := strings.Cut("\n"+string(boundary), "\n-")
		if !found {
			return "", "", fmt.Errorf("no commit of this checkout is on %s as far as git knows; `git push` or `git fetch`, or use --literal", c.remote)
		}
		commit, _, _ = strings.Cut(after, "\n")
		c.notes = append(c.notes, fmt.Sprintf("%s not pushed to %s: sent as changes", plural(n, "commit"), c.remote))
	}
	prefix := "refs/remotes/" + c.remote + "/"
	refs := strings.Fields(c.ask(ctx, "for-each-ref", "--format=%(refname)", "--contains", commit, prefix))
	for _, ref := range refs {
		name := strings.TrimPrefix(ref, prefix)
		if name != "HEAD" && (branch == "" || name == own) {
			branch = name
		}
	}
	return commit, branch, nil
}

// url is the remote's address as an agent can use it, without a password.
func (c *checkout) url(ctx context.Context) (string, error) {
	if c.remote == "" {
		return c.root, nil
	}
	out, err := c.git(ctx, "remote", "get-url", c.remote)
	if err != nil {
		return "", err
	}
	address := line(out)
	if u, err := url.Parse(address); err == nil && u.User != nil && (u.Scheme == "http" || u.Scheme == "https") {
		u.User = nil
		c.notes = append(c.notes, "the user and password in the remote's address are not sent: the agent has its own")
		return u.String(), nil
	}
	scp := strings.Contains(address, ":") && !strings.Contains(strings.SplitN(address, ":", 2)[0], "/")
	if !strings.Contains(address, "://") && !scp && !filepath.IsAbs(address) {
		address = filepath.Join(c.root, address)
	}
	return address, nil
}
