package worker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/envcache"
	"agentctl/spec"

	"golang.org/x/sys/unix"
)

// packages is what a task's environment is to hold, as far as the task and the
// worker's settings say it; the rest is in the repository.
type packages struct {
	task   *clearml.Task
	cmd    command
	choice choice
	pm     spec.PackageManager // the worker's, with the task's choice over it
	python string              // "" for any
	cuda   string              // the newest that the worker\'s GPUs can run; "" without any
	git    spec.Git            // the way to repositories that lines name
	// lock of an earlier run, nil if it is not to be used; refused says why.
	lock    *envcache.Lock
	refused string
	// source is the file of the repository that the packages are resolved from, and its
	// digest, as in a lock; "" for a list.
	source string
}

// packagesOf reads what a task says of its packages.
func packagesOf(t *clearml.Task, cmd command, pm spec.PackageManager) (packages, error) {
	p := packages{task: t, cmd: cmd}
	var err error
	if p.choice, err = choiceOf(t); err != nil {
		return p, err
	}
	p.pm = p.choice.over(pm)
	p.python = wantedPython(p.choice, t.Script.Binary, p.pm)
	if from := p.pm.RequirementsFrom; (from == spec.RequirementsRepository || from == spec.RequirementsOriginal) && p.choice.replay == "" {
		return p, nil // a lock is of what a run installed
	}
	lock, err := LockOf(t.Script.Requirements)
	if err == nil {
		err = p.choice.fits(*lock)
	}
	switch {
	case err == nil:
		p.lock = lock
	case p.choice.replay != "":
		return p, fmt.Errorf("cannot build the environment of task %s again: %w", p.choice.replay, err)
	case !errors.Is(err, ErrNoLock):
		p.refused = err.Error()
	}
	return p, nil
}

// withoutLock gives up a lock that turns out to be of no use here.
func (p *packages) withoutLock(why error) error {
	if p.choice.replay != "" {
		return fmt.Errorf("cannot build the environment of task %s again: %w", p.choice.replay, why)
	}
	p.lock, p.refused = nil, why.Error()
	return nil
}

var ownFiles = regexp.MustCompile(`(?m)^\s*(-r|--requirement|-c|--constraint|-e|--editable|-f|--find-links|\.|/|file:|[\w.-]+/|[\w.+-]+\.(whl|zip|tgz|tar\.\w+)\s*$)|@\s*file:`)

// needsCheckout tells whether the packages can't be known, or installed, without
// the repository.
func (p *packages) needsCheckout() bool {
	switch {
	case p.task.Script.Repository == "":
		return false
	case p.lock != nil:
		// The environment of one that was built from source is found by what was asked for.
		return p.lock.File+p.lock.Source != "" || p.lock.Manager != spec.ManagerPip || p.lock.Built
	case p.pm.Type != spec.ManagerPip:
		return true
	}
	pip, _ := p.own()
	return blank(pip) || p.pm.RequirementsFrom == spec.RequirementsRepository || ownFiles.MatchString(strings.Join(pip, "\n"))
}

// mayHaveHeader tells whether a script without a repository is to be looked into for
// the packages that it needs (PEP 723).
func (p *packages) mayHaveHeader() bool {
	return p.cmd.Literal != "" && p.task.Script.Repository == "" && header.MatchString(p.cmd.Literal) &&
		(p.pm.Type == spec.ManagerUV || p.pm.Type == spec.ManagerAuto || p.lock != nil)
}

// request says what is to be had, and in words where that is written. base is the
// repository, "" without one.
func (p *packages) request(base string) (req envcache.Request, from string, err error) {
	req = envcache.Request{
		Manager: p.pm.Type, PythonWanted: p.python, BaseDir: base, Versions: p.pm.Versions,
		Priority: p.pm.PriorityPackages, Post: p.pm.PostPackages, Groups: p.pm.Groups, Extras: p.pm.Extras,
		PriorityOptional: p.pm.PriorityOptionalPackages, PostOptional: p.pm.PostOptionalPackages, InstallFlags: p.pm.InstallFlags,
		CondaChannels: p.pm.CondaChannels, IndexURL: p.pm.IndexURL, ExtraIndexURLs: p.pm.ExtraIndexURLs,
		CredentialsFile: p.pm.IndexCredentialsFile, CredentialsCommand: p.pm.IndexCredentialsCommand,
		SystemSite: p.pm.SystemSitePackages != nil && *p.pm.SystemSitePackages,
		Timeout:    time.Duration(p.pm.BuildTimeout),
	}
	setTorch(&req, p.pm, p.cuda)
	req.GitCredentialsFile, req.GitCredentialsCommand = p.git.CredentialsFile, p.git.CredentialsCommand
	req.GitHTTPS = p.git.Protocol == spec.ProtocolHTTPS
	if p.lock != nil {
		if err := p.lockedFile(base); err != nil {
			if err := p.withoutLock(err); err != nil {
				return req, "", err
			}
		}
	}
	if p.lock != nil {
		req.Manager = p.lock.Manager
	}
	if base != "" && req.Manager != spec.ManagerPip {
		first := p.pm.ProjectFolder != spec.ProjectFolderWorkingDir
		if req.Project, req.Manager, err = envcache.Detect(base, p.cmd.inside(), p.cmd.script(), req.Manager, first); err != nil {
			return req, "", err
		}
	}
	if req.Manager == spec.ManagerAuto { // without a repository
		req.Manager = spec.ManagerPip
	}
	switch {
	case p.lock != nil:
		req.Lock, req.Asked = p.lock, p.asked(base)
		return req, "the lock of an earlier run", nil
	case req.Project.Kind != "":
		if p.source, err = sourceOf(base, req.Project.File); err != nil {
			return req, "", err
		}
		return req, where(req.Project, p.task.Script.Repository), nil
	}
	from, err = p.list(&req, base)
	return req, from, err
}

// asked is the request that the lock was resolved from, as far as the task tells; nil
// if it was one to another manager.
func (p *packages) asked(base string) *envcache.Request {
	before, task := *p, *p.task
	own := &task.Script.Requirements
	own.Pip, own.Conda, own.Lock = own.OrgPip, own.OrgConda, ""
	before.lock, before.task = nil, &task
	req, _, err := before.request(base)
	if err != nil || req.Manager != p.lock.Manager {
		return nil
	}
	return &req
}

// where tells in words which file counts.
func where(project envcache.Project, repository string) string {
	switch {
	case repository == "":
		return "the header of the script"
	case project.Kind == envcache.ProjectScript:
		return "the header of " + project.File + " of the repository"
	}
	return project.File + " of the repository"
}

// lockedFile tells whether the file of the repository that is the lock, or that it
// comes from, is the one that it was: a clone may be of another commit.
func (p *packages) lockedFile(base string) error {
	for _, source := range []string{p.lock.Source, p.lock.File + "@" + p.lock.SHA256} {
		at := strings.LastIndexByte(source, '@')
		if at < 1 {
			continue
		}
		file := source[:at]
		if base == "" {
			return fmt.Errorf("it is of the file %s of a repository, and the task has none", file)
		}
		now, err := sourceOf(base, file)
		if err != nil {
			return err
		}
		if now != source {
			return fmt.Errorf("%s is not the one of the earlier run", file)
		}
	}
	return nil
}

// header is the block of a script that says what it needs (PEP 723).
var header = regexp.MustCompile(`(?m)^# /// script\r?$\s(?:^#(?:| .*)$\s)+^# ///\r?$`)

// mostScript is the largest script that is looked into for a header.
const mostScript = 4 << 20

// sourceOf names a file of the repository with its digest, as FILE@HEX; of a script
// its header alone counts.
func sourceOf(base, file string) (string, error) {
	root, err := os.OpenRoot(base)
	if err != nil {
		return "", fmt.Errorf("cannot read the repository: %w", err)
	}
	defer func() { _ = root.Close() }()
	f, err := root.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("%s is not in the repository", file)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file in the repository", file)
	}
	var text io.Reader = f
	if strings.HasSuffix(file, ".py") {
		script, err := io.ReadAll(io.LimitReader(f, mostScript))
		if err != nil {
			return "", fmt.Errorf("cannot read %s: %w", file, err)
		}
		text = bytes.NewReader(header.Find(script))
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, text); err != nil {
		return "", fmt.Errorf("cannot read %s: %w", file, err)
	}
	return file + "@" + hex.EncodeToString(sum.Sum(nil)), nil
}
