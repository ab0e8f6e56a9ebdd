package worker

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/envcache"
	"agentctl/internal/fsx"
	"agentctl/spec"
)

// installed is what a task runs with, in the words of its requirements on the
// server: pip's list, conda's, and the lock of both.
type installed struct {
	Pip   []string `json:"pip"`
	Conda []string `json:"conda,omitempty"`
	Lock  string   `json:"lock,omitempty"`
}

// installedFile holds them in the task's folder until they are reported: they are
// long, and the journal would repeat them with every step.
const installedFile = "installed.json"

// installedIn says what an environment holds. It also says why there is no lock, if
// it has none that can be used again.
func installedIn(l *envcache.Lease, manager string) (in installed, why error) {
	in.Pip = l.Frozen
	if manager == spec.ManagerConda && l.Lock != nil {
		// What conda installed is in conda's list: another agent would ask pip for it too.
		in.Pip, in.Conda = pins(l.Lock.Packages), condaSpecs(l.Lock.Conda)
	}
	in.Lock, why = lockText(l.Lock, in.Pip, in.Conda)
	if l.Lock == nil && len(l.Frozen) > 0 {
		why = errors.New("not all of its packages are known by a digest or a commit")
	}
	return in, why
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
func (r *run) keepInstalled(l *envcache.Lease, manager string) error {
	in, why := installedIn(l, manager)
	if why != nil {
		r.say("this environment can't be had again by its lock: %v", why)
	}
	return fsx.ReplaceJSON(filepath.Join(r.dirs.root, installedFile), in, 0o600)
}

// installed reads what an agent, maybe an earlier one, wrote down.
func (r *run) installed() installed {
	in := installed{Pip: r.rec.Frozen}
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
	if r.task == nil { // gone from the server
		return
	}
	in, script := r.installed(), r.task.Script
	lists := len(in.Pip)+len(in.Conda) > 0
	if lists {
		script.Requirements = script.Requirements.Installed(in.Pip, in.Conda, in.Lock)
	}
	var err error
	switch commit := r.rec.Commit; {
	case commit != "" && script.VersionNum != commit:
		script.VersionNum = commit
		err = r.insist(ctx, func() error {
			return r.conn.Client.EditTask(ctx, r.rec.Task, map[string]any{"script": script})
		})
	case lists:
		err = r.insist(ctx, func() error {
			return r.conn.Client.SetRequirements(ctx, r.rec.Task, script.Requirements)
		})
	}
	if err != nil && ctx.Err() == nil {
		r.log.Warn("packages and commit not reported", "error", err)
	}
}
