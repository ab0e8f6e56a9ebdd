package worker

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"agentctl/clearml"
	"agentctl/spec"
)

// made is what a task needs, held.
type made struct {
	prepared
	release []func() error
}

func (m *made) close() error {
	var failed error
	for _, release := range slices.Backward(m.release) {
		failed = errors.Join(failed, release())
	}
	return failed
}

// makeFor makes the checkout and the environment of a task that does not run here, with
// the image that they are for. What has to be kept meanwhile is kept in dirs.
func (p *Pool) makeFor(ctx context.Context, task *clearml.Task, w spec.Worker, node spec.NodeSpec, dirs folders) (_ *made, err error) {
	m := &made{}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	conn, err := p.conn.get(ctx, node.Server)
	if err != nil {
		return nil, err
	}
	rule, err := ruleOf(ctx, task, w, conn.Client.ProjectName)
	if err != nil {
		return nil, err
	}
	if m.needs, err = p.needsOf(task, w, node.Git, node.Cache.ResolveAge, rule); err != nil {
		return nil, err
	}
	needs := &m.needs
	if needs.box != nil {
		end, err := p.makeInside(ctx, &m.prepared, w, node, dirs)
		if err != nil {
			return nil, err
		}
		m.release = append(m.release, end)
	}
	if m.checkout, err = p.checkOutAhead(ctx, needs); err != nil {
		return nil, err
	}
	if m.checkout != nil {
		m.release = append(m.release, m.checkout.Close)
	}
	if needs.standalone || needs.packages.pm.UseInterpreter != "" {
		return m, nil // there is nothing to build
	}
	if needs.owner.Later && IsAhead(ctx) {
		return m, nil // a child builds it, which would not leave the CPUs to the tasks that run
	}
	base, err := needs.folder(m.checkout, filepath.Join(dirs.root, "script"))
	if err != nil {
		return nil, err
	}
	req, from, err := needs.request(ctx, base)
	if err != nil || needs.cmd.Shell != "" && from == "" {
		return m, err
	}
	if m.env, err = p.cfg.Envs.Acquire(ctx, req, nil); err != nil {
		return nil, err
	}
	m.manager, m.python = req.Manager, m.env.Python
	m.release = append(m.release, m.env.Close)
	p.collectAfter(m.env.Hit)
	return m, nil
}
