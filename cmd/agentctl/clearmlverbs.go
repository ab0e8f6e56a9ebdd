package main

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"

	"agentctl/control"
	"agentctl/migrate"
	"agentctl/spec"

	"github.com/spf13/cobra"
)

func (a *app) serverWorkersCmd() *cobra.Command {
	out := newOutput(asYAML, asJSON)
	cmd := &cobra.Command{
		Use: "list", Short: "List all workers that the server knows, as clearml-agent list",
		Long: `List all workers that the server of this node knows, of any machine, as the server
tells of them. The workers of this node alone: agentctl get workers.`,
		Example: "  agentctl list\n  agentctl list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			workers, err := a.serverWorkers(cmd.Context())
			if err != nil {
				return err
			}
			if out.format == "" {
				out.format = asYAML
			}
			return out.write(a.Stdout, workers)
		},
	}
	out.flag(cmd)
	return cmd
}

// serverWorkers is what the server says of its workers, as it says it.
func (a *app) serverWorkers(ctx context.Context) (map[string]any, error) {
	way, _, err := a.submitWay(ctx)
	if err != nil {
		return nil, err
	}
	defer way.Client.Close()
	var reply map[string]any
	return reply, way.Client.Read(ctx, "workers.get_all", map[string]any{"last_seen": 0}, &reply)
}

func (a *app) configCmd() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use: "config", Short: "Show the configuration in force, as clearml-agent config",
		Long: `Show the node.yaml in force, with every default and without secrets. Where no agent
runs, it is what "agentctl daemon" would start one with: from clearml.conf and the
CLEARML_ variables.`,
		Example: "  agentctl config\n  agentctl config --config-file clearml.conf",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := a.configured(cmd.Context(), config)
			if err != nil {
				return err
			}
			text, err := spec.Encode(masked(n))
			if err == nil {
				_, err = a.Stdout.Write(text)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&config, "config-file", "", "configuration of clearml-agent (default ~/clearml.conf), where no agent runs")
	return cmd
}

// configured is the spec in force, or what a daemon would begin with.
func (a *app) configured(ctx context.Context, config string) (*spec.Node, error) {
	c := a.client()
	defer c.Close()
	s, err := c.Status(ctx)
	if err == nil && s.Node != nil {
		return s.Node, nil
	}
	if err != nil && !errors.Is(err, control.ErrNoAgent) {
		return nil, err
	}
	d := &daemonRun{app: a, config: config}
	conf, err := d.configuration(ctx)
	if err != nil {
		return nil, err
	}
	all, err := migrate.Node(conf, d.variables(), migrate.Options{Path: d.secretFile})
	if err != nil {
		return nil, err
	}
	host, err := a.hostOf(agentFlags{})
	if err != nil {
		return nil, err
	}
	return all.Node.Default(spec.Env{Hostname: host.Name}), nil
}

var secretVariable = regexp.MustCompile(`(?i)(secret|pass|token|credential|key|auth)`)

// masked is n without the values of variables that may be secret, though none should
// be in it.
func masked(n *spec.Node) *spec.Node {
	var out spec.Node
	data, err := json.Marshal(n)
	if err != nil || json.Unmarshal(data, &out) != nil { // which a snapshot has been through
		return &spec.Node{}
	}
	hide := func(variables map[string]string) {
		for name := range variables {
			if secretVariable.MatchString(name) {
				variables[name] = "***"
			}
		}
	}
	hide(out.Spec.Sandbox.Arguments.Env)
	for _, rule := range out.Spec.Sandbox.Rules {
		hide(rule.Arguments.Env)
	}
	for _, w := range out.Spec.Workers {
		hide(w.Environment)
		hide(w.Sandbox.Arguments.Env)
	}
	return &out
}
