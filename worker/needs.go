package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"agentctl/clearml"
	"agentctl/envcache"
	"agentctl/envcache/repo"
	"agentctl/spec"
)

// needs are what a task asks for by itself and by the settings of its worker. Its
// run makes it, or who looks ahead makes the same before.
type needs struct {
	task       *clearml.Task
	cmd        command
	owner      identity
	packages   packages
	git        spec.Git
	rule       *ruling // of the sandbox's; nil for none
	standalone bool    // nothing is fetched or installed
	resolveAge time.Duration
	envs       *envcache.Cache
	box        *sandboxed                       // nil: on the host
	root       *envcache.Root                   // of the environment; nil: the host's
	host       envcache.Exec                    // of what a build runs on the host; nil: the cache's own
	say        func(format string, args ...any) // tells what is taken in place of what
	progress   func(envcache.Progress)
}

func (p *Pool) needsOf(t *clearml.Task, w spec.Worker, git spec.Git, age spec.Duration, rule *ruling) (needs, error) {
	n := needs{task: t, git: git, rule: rule, standalone: w.Standalone, resolveAge: time.Duration(age), envs: p.cfg.Envs}
	n.say, n.progress = func(string, ...any) {}, func(envcache.Progress) {}
	var err error
	if n.cmd, err = parseScript(t.Script); err != nil {
		return n, err
	}
	if n.packages, err = packagesOf(t, n.cmd, w.PackageManager); err != nil {
		return n, err
	}
	n.packages.cuda, n.packages.git = p.cuda(w), git
	if w.Mode == spec.ModeSandbox {
		if err = p.sandboxOf(&n, w); err != nil || n.owner.Later {
			return n, err // the shim mounts what no user of the range could pass through to
		}
	} else if len(n.packages.choice.apt) > 0 {
		err = errors.New("cannot install the Debian packages that the task asks for: its worker has mode: venv, and the host's packages are the operator's")
	} else {
		n.owner, err = resolveUser(w.RunAs)
	}
	if err != nil {
		return n, err
	}
	return n, reachable(p.cfg.State, n.owner)
}

// source is the state of the repository that the task runs; false without one.
func (n *needs) source() (src repo.Source, ok bool, err error) {
	s := n.task.Script
	if s.Repository == "" {
		if s.Diff != "" && n.cmd.Literal == "" {
			return src, false, errors.New("cannot apply the task's uncommitted changes: the task names no repository")
		}
		return src, false, nil
	}
	src = repo.Source{
		URL: s.Repository, Branch: s.Branch, Tag: s.Tag, Commit: s.VersionNum,
		UID: n.owner.UID, GID: n.owner.GID, Offline: n.standalone,
	}
	if n.cmd.Literal == "" {
		src.Diff = s.Diff
	}
	if n.box != nil {
		src.Box = n.box.boxes.git(n.box.ids)
	}
	src.Access = gitAccess(n.git)
	return src, true, nil
}

// folder is where the files are that say which packages are needed: the checkout,
// else a folder of the text of a script, so that its header can be read as that of
// any other. It is not where it runs. "" is none.
func (n *needs) folder(checkout *repo.Checkout, scratch string) (string, error) {
	if checkout != nil {
		root, err := os.OpenRoot(checkout.Path)
		if err != nil {
			return "", fmt.Errorf("cannot read the repository: %w", err)
		}
		n.packages.cmd.settle(isFile(root))
		return checkout.Path, root.Close()
	}
	if !n.packages.mayHaveHeader() {
		return "", nil
	}
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return "", fmt.Errorf("cannot write the task's script: %w", err)
	}
	name, _ := n.cmd.at(n.cmd.LiteralFile)
	return scratch, writeScript(scratch, name, n.cmd.Literal, identity{UID: -1})
}

// request is what the cache is asked for, and where it is written what is in it. A lock whose Python this host lacks is given up.
func (n *needs) request(ctx context.Context, base string) (envcache.Request, string, error) {
	req, from, err := n.packages.request(base)
	if err != nil || n.cmd.Shell != "" && from == "" {
		return req, from, err
	}
	if n.owner.Later && n.root == nil { // code of packages would run as the agent's own user
		return req, from, errors.New("cannot build an environment for a sandbox outside of one")
	}
	req.UID, req.GID, req.ResolveAge, req.Root = n.owner.UID, n.owner.GID, n.resolveAge, n.root
	req.Host = n.host
	switch {
	case req.Manager == spec.ManagerConda: // the channels have it
	case req.Lock != nil:
		if req.Python, err = n.lockedPython(ctx, req); err != nil && ctx.Err() == nil {
			if err := n.packages.withoutLock(err); err != nil {
				return req, from, err
			}
			return n.request(ctx, base)
		}
	default:
		var note string
		if req.Python, note, err = n.findPython(ctx, req, n.packages.python, n.packages.pm.Python.OnMissing); note != "" {
			n.say("%s", note)
		}
	}
	return req, from, err
}

var minorVersion = regexp.MustCompile(`^\d+\.\d+`)

// lockedPython finds the very Python that the lock of req was made with, else the same
// minor version: packages for that fit. What the task would get without the lock counts
// first, of several that fit: it is what the lock's environment was made with.
func (n *needs) lockedPython(ctx context.Context, req envcache.Request) (envcache.Interpreter, error) {
	version := req.Lock.Python
	minor := minorVersion.FindString(version)
	wants, missing := []string{n.packages.python, version, minor}, envcache.OnMissingFail
	if n.packages.pm.Python.OnMissing == envcache.OnMissingInstall {
		wants = append(wants, version, minor)
	}
	var failed error
	for i, want := range wants {
		if i == 3 { // nothing that is here fits
			missing = envcache.OnMissingInstall
		}
		py, _, err := n.findPython(ctx, req, want, missing)
		failed = err
		switch {
		case ctx.Err() != nil:
			return py, context.Cause(ctx)
		case err != nil || minorVersion.FindString(py.Version) != minor || i == 0 && py.Version != version:
			continue
		case py.Version != version:
			n.say("python %s is used: the lock was made with %s, which is not here", py.Version, version)
		}
		return py, nil
	}
	if missing == envcache.OnMissingInstall {
		return envcache.Interpreter{}, fmt.Errorf("the lock was made with python %s: %w", version, failed)
	}
	return envcache.Interpreter{}, fmt.Errorf("the lock was made with python %s, and this host has no %s", version, minor)
}

func (n *needs) findPython(ctx context.Context, req envcache.Request, want, onMissing string) (envcache.Interpreter, string, error) {
	wish := envcache.PythonWish{Version: want, OnMissing: onMissing, Mirror: n.packages.pm.Python.InstallMirror}
	return n.envs.Python(ctx, wish, req, n.progress)
}
