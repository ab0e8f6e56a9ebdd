package worker

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/clearml"
	"agentctl/envcache"
	"agentctl/internal/fsx"
	"agentctl/spec"
)

// installed is what a task runs with.
type installed struct {
	Manager string         `json:"manager"`
	Frozen  []string       `json:"frozen"`
	Lock    *envcache.Lock `json:"lock,omitempty"`
}

// installedFile holds it in the task's folder until it is reported: it is long, and
// the journal would repeat it with every step.
const installedFile = "installed.json"

// lists are pip's and conda's list of what is installed, and the text of the lock of
// both. why says why there is none, if there is none that can be used again.
func (in installed) lists() (pip, conda []string, lock string, why error) {
	pip = in.Frozen
	switch {
	case in.Lock == nil && len(pip) > 0:
		return pip, nil, "", errors.New("not all of its packages are known by a digest or a commit")
	case in.Lock == nil:
		return nil, nil, "", nil
	case in.Manager == spec.ManagerConda:
		// What conda installed is in conda's list: another agent would ask pip for it too.
		pip, conda = pins(in.Lock.Packages), condaSpecs(in.Lock.Conda)
	}
	lock, why = lockText(in.Lock, pip, conda)
	return pip, conda, lock, why
}

// pins are locked packages without their digests.
func pins(locked []string) []string {
	lines := make([]string, 0, len(locked))
	for _, l := range locked {
		pin, _, _ := strings.Cut(l, " --hash=")
		lines = append(lines, pin)
	}
	return lines
}

// condaSpecs are locked packages of conda as NAME=VERSION=BUILD.
func condaSpecs(locked []string) []string {
	specs := make([]string, 0, len(locked))
	for _, l := range locked {
		file, _, _ := strings.Cut(l[strings.LastIndexByte(l, '/')+1:], "#")
		file = strings.TrimSuffix(strings.TrimSuffix(file, ".conda"), ".tar.bz2")
		if parts := strings.Split(file, "-"); len(parts) > 2 {
			n := len(parts)
			specs = append(specs, strings.Join(parts[:n-2], "-")+"="+parts[n-2]+"="+parts[n-1])
		}
	}
	slices.Sort(specs)
	return specs
}

// keepInstalled writes down what is to be reported once the task runs.
func (r *run) keepInstalled(l *envcache.Lease, p *packages, req envcache.Request) error {
	in := installed{req.Manager, l.Frozen, l.Lock}
	switch {
	case l.Lock == nil:
	case p.lock != nil:
		in.Lock = p.lock
	default:
		lock := *l.Lock
		lock.Source = p.source
		if req.Project.Kind != "" {
			lock.Groups, lock.Extras = req.Groups, req.Extras
		}
		in.Lock = &lock
	}
	if !l.Hit {
		if _, _, _, why := in.lists(); why != nil {
			r.say("this environment can't be had again by its lock: %v", why)
		}
	}
	return fsx.ReplaceJSON(filepath.Join(r.dirs.root, installedFile), in, 0o600)
}

// installed reads what an agent, maybe an earlier one, wrote down.
func (r *run) installed() installed {
	in := installed{Frozen: r.rec.Frozen}
	err := fsx.ReadJSON(filepath.Join(r.dirs.root, installedFile), &in)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("installed packages not known", "error", err)
	}
	return in
}

// announce tells the server what the task really runs with: the packages as
// installed, with their lock (the lists as requested are kept once in org_pip and
// org_conda), and the commit. Nothing of it is worth delaying the start for, so it
// comes after it.
func (r *run) announce(ctx context.Context) {
	if r.task == nil || !r.reports() { // gone from the server
		return
	}
	script := r.task.Script
	pip, conda, lock, _ := r.installed().lists()
	lists := len(pip)+len(conda) > 0
	if lists {
		script.Requirements = script.Requirements.Installed(pip, conda, lock)
	}
	var err error
	switch commit := r.rec.Commit; {
	case commit != "" && script.VersionNum != commit:
		script.VersionNum = commit
		err = r.tell(ctx, func() error {
			return r.conn.Client.EditTask(ctx, r.rec.Task, map[string]any{"script": script})
		})
	case lists:
		err = r.tell(ctx, func() error {
			return r.conn.Client.SetRequirements(ctx, r.rec.Task, script.Requirements)
		})
	}
	ran := container{Image: r.rec.Image, OwnImage: r.rec.Image == "" || r.task.Container.Image != "" || r.task.Execution.DockerCmd != ""}
	if fields := ran.writeBack(r.task); fields != nil && err == nil {
		err = r.tell(ctx, func() error {
			if has, err := r.conn.Client.Speaks(ctx, 2, 13); err != nil || !has { // before it a task has no container section
				return err
			}
			return r.conn.Client.EditTask(ctx, r.rec.Task, fields)
		})
	}
	if err != nil && ctx.Err() == nil {
		r.log.Warn("packages, commit and image not reported", "error", err)
	}
}

// mostFaults is how often a server may fail at what is told after the end of the task.
const mostFaults = 10

// tell is insist for what is told for people's sake: a server that has an error of its own
// for it each time must not keep the end of the task from being reported.
func (r *run) tell(ctx context.Context, call func() error) error {
	faults := 0
	var last error
	err := r.insist(ctx, func() error {
		err := call()
		if errors.As(err, new(*clearml.Error)) && r.exited() {
			if faults++; faults == mostFaults {
				last = err
				return nil
			}
		}
		return err
	})
	return cmp.Or(err, last)
}

// exited tells whether the task's process has ended.
func (r *run) exited() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rec.Exit != nil
}
