package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/envcache"
	"agentctl/spec"
)

// own are the task's own lists: as they are, or as they were before a run wrote into
// them what it had installed.
func (p *packages) own() (pip, conda []string) {
	r := p.task.Script.Requirements
	if pip, conda = r.Pip, r.Conda; p.pm.RequirementsFrom == spec.RequirementsOriginal {
		if !blank(r.OrgPip) {
			pip = r.OrgPip
		}
		if !blank(r.OrgConda) {
			conda = r.OrgConda
		}
	}
	return pip, conda
}

// list asks for the task's own lists, else for the requirements.txt of each folder
// from the repository's root down to the entry point's, as clearml-agent does.
func (p *packages) list(req *envcache.Request, base string) (from string, err error) {
	pip, conda := p.own()
	var files []string
	mine := !blank(pip) || req.Manager == spec.ManagerConda && !blank(conda)
	if !mine || p.pm.RequirementsFrom == spec.RequirementsRepository {
		if files, err = p.requirementFiles(base); err != nil {
			return "", err
		}
	}
	switch {
	case len(files) == 0 && !mine:
		return "", nil
	case len(files) == 0:
		if req.Requirements = pip; req.Manager == spec.ManagerConda && !blank(conda) {
			req.CondaRequirements = conda
		}
		return "the task's own list", nil
	}
	for _, f := range files {
		req.Requirements = append(req.Requirements, "-r "+f)
	}
	return strings.Join(files, ", ") + " of the repository", nil
}

func (p *packages) requirementFiles(base string) (files []string, err error) {
	if base == "" {
		return nil, nil
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, fmt.Errorf("cannot read the repository: %w", err)
	}
	defer func() { _ = root.Close() }()
	dir := filepath.Join(p.cmd.inside(), filepath.Dir(p.cmd.script()))
	at := ""
	for _, part := range append([]string{"."}, strings.Split(filepath.Clean(dir), "/")...) {
		at = filepath.Join(at, part)
		name := filepath.Join(at, "requirements.txt")
		if _, err := root.Stat(name); err == nil && !slices.Contains(files, name) {
			files = append(files, name)
		}
	}
	return files, nil
}

func blank(lines []string) bool {
	return !slices.ContainsFunc(lines, func(l string) bool { return strings.TrimSpace(l) != "" })
}
