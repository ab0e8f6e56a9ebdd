package worker

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"agentctl/envcache"
)

// useInterpreter has the task run with the interpreter that its worker names, which is
// to have all packages already: nothing is built, and what the task lists is told.
func (r *run) useInterpreter(ctx context.Context, p *prepared) error {
	want := p.packages.pm.UseInterpreter
	req := envcache.Request{UID: p.owner.UID, GID: p.owner.GID, Root: p.root, Host: p.host}
	py, note, err := p.findPython(ctx, req, want, envcache.OnMissingFail)
	if err != nil {
		return fmt.Errorf("cannot use the interpreter %s: %w", want, err)
	}
	// An interpreter in place of a path that is not there has other packages.
	if filepath.IsAbs(want) && (note != "" || p.root != nil && py.Path != want) {
		why, _, _ := strings.Cut(note, "; ")
		return fmt.Errorf("cannot use the interpreter %s: %s", want, cmp.Or(why, "it is not there, or does not run"))
	}
	p.python = py.Path
	if filepath.IsAbs(want) {
		p.python = want // that of a virtual environment knows its packages by its own path
	}
	r.note(func(rec *Record) { rec.Environment = "given" })
	if blank(r.task.Script.Requirements.Pip) {
		r.say("python %s is used as it is (packageManager.useInterpreter)", py)
	} else {
		r.say("python %s is used as it is (packageManager.useInterpreter): the packages that the task lists are not installed", py)
	}
	return nil
}
