package main

import (
	"context"
	"fmt"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

func (a *app) diffCmd() *cobra.Command {
	out := newOutput(asJSON, asYAML)
	cmd := &cobra.Command{
		Use: "diff [FILE…|FOLDER|-|REVISION [REVISION]]", Short: "Compare specs field by field: a file with the one in force, or revisions",
		Long: `Compare a spec with the one in force, field by field, defaults included. Without
FILE the followed source is compared, which differs while it is not accepted. With the
number of a revision it is told what has changed since, with two what changed from
the one to the other; a file of such a name is ./12.
The exit code is 0 if they are the same, 1 if they differ, above 1 if that can't
be told.`,
		Example: "  agentctl diff node.yaml\n  agentctl diff && echo in force\n  agentctl diff 12 14",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.compare(cmd.Context(), args)
			if err != nil {
				code, _ := classify(cmd.Context(), err)
				return &exitError{max(2, code), err}
			}
			if out.format != "" {
				if err := out.write(a.Stdout, p.Changes); err != nil {
					return &exitError{2, err}
				}
			} else {
				a.warnings(p)
				for _, c := range p.Changes {
					fmt.Fprintln(a.Stdout, printable(changeLine(c)))
				}
			}
			if len(p.Changes) > 0 {
				return &exitError{code: 1}
			}
			return nil
		},
	}
	out.flag(cmd)
	return cmd
}

// compare asks the agent; where none runs, nothing is in force.
func (a *app) compare(ctx context.Context, args []string) (reconcile.Preview, error) {
	if numbers := lo.FilterMap(args, func(arg string, _ int) (int64, bool) { return revisionNumber(arg) }); len(numbers) == len(args) && (len(args) == 1 || len(args) == 2) {
		return a.compareRevisions(ctx, numbers[0], lo.LastOr(numbers[1:], 0))
	}
	c := a.client()
	defer c.Close()
	who, err := c.Agent(ctx)
	if err != nil {
		return reconcile.Preview{}, err
	}
	if len(args) == 0 {
		switch who.Source.Kind {
		case "file", "folder":
			args = []string{who.Source.Path}
		case "git":
		default:
			return reconcile.Preview{}, usagef("the node watches no file; name one")
		}
	}
	ask, err := a.compared(ctx, c, args)
	if err != nil {
		return reconcile.Preview{}, err
	}
	p, err := c.Plan(ctx, ask)
	if err == nil && p.Problems.Err() != nil {
		err = a.invalid(p.Problems)
	}
	if p.Changes == nil {
		p.Changes = []spec.Change{}
	}
	return p, err
}

// compared is the text to compare: of the arguments, or of the followed repository.
func (a *app) compared(ctx context.Context, c *control.Client, args []string) (control.PlanRequest, error) {
	if len(args) == 0 {
		reply, err := c.Fetch(ctx, control.FetchRequest{})
		return control.PlanRequest{File: reply.File, Text: reply.Text}, err
	}
	req, err := a.request(args)
	return control.PlanRequest{File: req.File, Text: req.Text}, err
}
