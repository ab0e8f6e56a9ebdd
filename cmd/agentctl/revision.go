package main

import (
	"cmp"
	"context"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"

	"github.com/spf13/cobra"
)

// withRevision lets `get node` show an earlier spec.
func (a *app) withRevision(cmd *cobra.Command) *cobra.Command {
	number, effective := int64(0), false
	cmd.Flags().Int64Var(&number, "revision", 0, "print an earlier spec: as it was written, -o json with all defaults")
	cmd.Flags().BoolVar(&effective, "effective", false, "with --revision: as YAML with all defaults")
	run := cmd.RunE
	cmd.RunE = func(c *cobra.Command, args []string) error {
		format := c.Flag("output").Value.String()
		switch {
		case number < 0 || number == 0 && c.Flags().Changed("revision"):
			return usagef("a revision has a number from 1; see agentctl history")
		case number == 0 && effective:
			return usagef("--effective needs --revision; `agentctl get node -o yaml` is the spec in force, with all defaults")
		case number == 0:
			return run(c, args)
		}
		return a.printRevision(c.Context(), number, effective, cmp.Or(format, asYAML))
	}
	return cmd
}

func (a *app) printRevision(ctx context.Context, number int64, effective bool, format string) error {
	c := a.client()
	defer c.Close()
	r, err := c.Revision(ctx, number)
	if err != nil {
		return err
	}
	if format != asJSON && !effective {
		_, err := a.screen().Write(r.Text)
		return err
	}
	if r.Node == nil {
		return a.invalid(r.Problems)
	}
	if format == asJSON {
		return (&output{format: asJSON}).write(a.Stdout, r.Node)
	}
	text, err := spec.Encode(r.Node)
	if err == nil {
		_, err = a.screen().Write(text)
	}
	return err
}

// compareRevisions tells what changes from one revision to another; to is 0 for the one
// in force.
func (a *app) compareRevisions(ctx context.Context, from, to int64) (reconcile.Preview, error) {
	c := a.client()
	defer c.Close()
	var nodes [2]control.RevisionText
	for i, n := range []int64{from, to} {
		r, err := c.Revision(ctx, n)
		if err != nil {
			return reconcile.Preview{}, err
		}
		if r.Node == nil {
			return reconcile.Preview{}, a.invalid(r.Problems)
		}
		nodes[i] = r
	}
	changes := spec.Diff(nodes[0].Node, nodes[1].Node)
	if changes == nil {
		changes = []spec.Change{}
	}
	return reconcile.Preview{Changes: changes}, nil
}
