package worker

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"agentctl/envcache"
	"agentctl/spec"

	"github.com/samber/lo"
)

// useWhatIsThere gives a task of a standalone worker the Python of the image, or of the
// host: nothing is installed.
func (r *run) useWhatIsThere(ctx context.Context, p *prepared) error {
	if p.cmd.Shell != "" {
		return nil
	}
	if p.box != nil && len(p.box.image.Layers) > 0 {
		var err error
		p.python, err = p.box.image.python(p.packages.python)
		if err != nil {
			return err
		}
	} else {
		missing := lo.Ternary(p.packages.pm.Python.OnMissing == spec.OnMissingNearest, envcache.OnMissingNearest, envcache.OnMissingFail)
		found, note, err := p.findPython(ctx, envcache.Request{UID: p.owner.UID, GID: p.owner.GID}, p.packages.python, missing)
		if err != nil {
			return err
		}
		if note != "" {
			r.say("%s", note)
		}
		p.python = found.Path
	}
	r.say("nothing is fetched or installed (standalone): the task runs with %s and the packages that it has", p.python)
	return nil
}

// python finds the image's interpreter of a version, else the one that it has: as for
// clearml-agent a wish that is not met is no fault.
func (i *Image) python(version string) (string, error) {
	names := lo.Compact([]string{lo.Ternary(version == "", "", "python"+version), lo.Ternary(version == "", "", "python"+minorVersion.FindString(version)), "python3", "python"})
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range i.Env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = value
		}
	}
	for _, name := range names {
		for _, dir := range filepath.SplitList(path) {
			if file := filepath.Join("/", dir, name); i.has(file) {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("the image %.200q has no Python: nothing is installed on a standalone worker; name an image that has one", i.Ref)
}

// argv is the command line of the task, whose variables are env.
func (r *run) argv(p *prepared, python string, env []string) ([]string, error) {
	c := &p.cmd
	if err := c.expand(env); err != nil {
		return nil, err
	}
	if c.Binary != "" {
		r.say("WARNING: %.80q is no interpreter that tasks are run with: Python is used", c.Binary)
	}
	program := python
	switch {
	case c.Shell == "":
	case p.box != nil:
		program = c.Shell // it is looked for inside
	default:
		var err error
		if program, err = exec.LookPath(c.Shell); err != nil {
			return nil, fmt.Errorf("cannot run the task: its binary is %s, which this host does not have", c.Shell)
		}
	}
	if program == "" {
		return nil, errors.New("cannot run the task: it has no interpreter")
	}
	return c.argv(program, r.rec.Worker.PythonOptimize), nil
}
