package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"agentctl/control"
	"agentctl/internal/fsx"
	"agentctl/migrate"
	"agentctl/reconcile"
	"agentctl/source"
	"agentctl/spec"

	"github.com/samber/lo"
)

// configuration is what clearml.conf says, with the git login of the flags in it; an
// empty one if there is no such file.
func (d *daemonRun) configuration(ctx context.Context) (map[string]any, error) {
	conf, err := d.clearmlConf(ctx, d.config)
	if err != nil {
		return nil, err
	}
	if d.gitPass != "" {
		agent, _ := conf["agent"].(map[string]any)
		if agent == nil {
			agent = map[string]any{}
			conf["agent"] = agent
		}
		agent["git_user"], agent["git_pass"] = d.gitUser, d.gitPass
	}
	return conf, nil
}

// ready has an agent run that takes contributed workers, and says whether it was
// started for that.
func (d *daemonRun) ready(ctx context.Context, c *control.Client, w *wantedWorkers) (started bool, err error) {
	_, err = c.Agent(ctx)
	if started = errors.Is(err, control.ErrNoAgent); err != nil && !started {
		return false, err
	}
	if started {
		if err := d.start(ctx, c, w); err != nil {
			return false, err
		}
	} else if names := slices.Sorted(maps.Keys(agentVariables(w))); len(names) > 0 {
		d.say("the agent runs already: tasks get %s only if they are in its own environment", strings.Join(names, ", "))
	}
	who, err := c.Agent(ctx)
	if err != nil {
		return started, err
	}
	if d.blank(ctx, c, who) {
		if err := d.writeSecrets(w.secrets); err != nil {
			return started, err
		}
		text, err := spec.Encode(w.base)
		if err != nil {
			return started, err
		}
		w.git = "" // is part of it
		_, err = c.Apply(ctx, control.ApplyRequest{File: blankName, Text: text, Message: d.command})
		return started, err
	}
	snap, err := d.inForce(ctx, c)
	if err != nil {
		return started, err
	}
	return started, d.goesWith(w, snap)
}

// blankName is what the spec without workers is called that a daemon gives an agent.
const blankName = "daemon"

// blank tells that nobody has given the agent a spec but a daemon whose worker is gone.
func (d *daemonRun) blank(ctx context.Context, c *control.Client, who control.Agent) bool {
	if who.Source.Kind == "" {
		return true
	}
	list, err := c.Contributions(ctx)
	return err == nil && len(list) == 0 && who.Source.Kind == source.KindPinned && who.Source.Path == blankName
}

// inForce waits for the spec of an agent that has just been started.
func (d *daemonRun) inForce(ctx context.Context, c *control.Client) (*reconcile.Snapshot, error) {
	var snap *reconcile.Snapshot
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the agent that runs here has not read its spec after %s; see agentctl describe node", startTimeout))
	defer cancel()
	err := c.Watch(ctx, func(s *reconcile.Snapshot) error {
		snap = s
		if accepted, _ := s.Condition(reconcile.SpecAccepted); s.Node == nil && accepted.Status == reconcile.Unknown {
			return nil
		}
		return errReached
	})
	switch {
	case !errors.Is(err, errReached):
		return nil, err
	case snap.Node == nil:
		return nil, errors.New("the agent that runs here has no valid spec; see agentctl describe node")
	}
	return snap, nil
}

// goesWith tells whether the node that is there is one that the flags could mean.
func (d *daemonRun) goesWith(w *wantedWorkers, snap *reconcile.Snapshot) error {
	is, want := snap.Node.Spec.Server.URL, w.base.Spec.Server.URL
	if want != "" && strings.TrimRight(is, "/") != strings.TrimRight(want, "/") {
		if is == "" {
			is = "its embedded server"
		}
		return fmt.Errorf("the agent that runs here takes tasks from %s, not from %s; one agent serves one server: change spec.server, or run another agent with --state and --socket", is, want)
	}
	if w.git == "" {
		return nil
	}
	if file := snap.Node.Spec.Git.CredentialsFile; file != "" && file != w.git {
		return fmt.Errorf("the git logins of this node are in %s; write this one there too, and leave --git-user and --git-pass out", file)
	}
	// The others may be in use: they came with the spec that the agent has.
	return d.writeSecrets(lo.Filter(w.secrets, func(s migrate.Secret, _ int) bool { return d.secretFile(s.Name) == w.git }))
}

// writeSecrets writes what came by flags, variables or clearml.conf into files that
// only their owner can read. The folder is there: the lock is in it.
func (d *daemonRun) writeSecrets(list []migrate.Secret) error {
	for name, parts := range lo.GroupBy(list, func(s migrate.Secret) string { return s.Name }) {
		text := lo.Map(parts, func(s migrate.Secret, _ int) []byte { return s.Content })
		if err := fsx.WriteFile(d.secretFile(name), bytes.Join(text, nil), 0o600); err != nil {
			return fmt.Errorf("cannot keep %s: %w", name, err)
		}
	}
	return nil
}

// environmentFile is the secret that holds variables for the agent's own environment.
const environmentFile = "agent.env"

// agentVariables are those that the agent needs in its environment.
func agentVariables(w *wantedWorkers) map[string]string {
	out := map[string]string{}
	for _, s := range w.secrets {
		if s.Name != environmentFile {
			continue
		}
		for line := range strings.Lines(string(s.Content)) {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			if ok {
				out[name] = strings.Trim(value, "'")
			}
		}
	}
	return out
}

// start starts an agent with the variables that its tasks are to get.
func (d *daemonRun) start(ctx context.Context, c *control.Client, w *wantedWorkers) error {
	for name, value := range agentVariables(w) {
		d.agent.environ = append(d.agent.environ, name+"="+value)
	}
	return d.ensureAgent(ctx, c, d.agent)
}

// show prints the node.yaml that does the same.
func (d *daemonRun) show(w *wantedWorkers) error {
	n := w.base
	n.Spec.Workers = w.groups
	if w.slot {
		for i := range n.Spec.Workers {
			n.Spec.Workers[i].ID = w.id + ":0"
		}
	}
	text, err := spec.Encode(n)
	if err != nil {
		return err
	}
	if _, problems := spec.Decode("node.yaml", text); problems.Err() != nil {
		return d.invalid(problems)
	}
	for _, s := range w.secrets {
		d.say("%s is to be written, with the mode 0600: `agentctl import` does it", d.secretFile(s.Name))
	}
	_, err = d.Stdout.Write(text)
	return err
}
