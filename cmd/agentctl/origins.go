package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentctl/control"

	"github.com/samber/lo"
)

// contributions lists the workers that commands have added; none where the agent is
// older than that.
func (a *app) contributions(ctx context.Context, c *control.Client) ([]control.Contribution, error) {
	list, err := c.Contributions(ctx)
	var refused *control.Error
	if errors.As(err, &refused) && refused.Code == control.CodeNotFound {
		return nil, nil
	}
	return list, err
}

// origins tells of groups of workers who has added them; those of the spec's source are
// not in it.
type origins map[string]control.Contribution

func (a *app) origins(ctx context.Context, c *control.Client) (origins, error) {
	list, err := a.contributions(ctx, c)
	out := origins{}
	for _, contribution := range list {
		for _, g := range contribution.Workers {
			out[g.Name] = contribution
		}
	}
	return out, err
}

// of says where a group comes from.
func (o origins) of(group string) string {
	c, contributed := o[group]
	if !contributed {
		return "spec"
	}
	return contributedBy(c)
}

func contributedBy(c control.Contribution) string {
	by := c.By
	if by == "" {
		by = "somebody"
	}
	return fmt.Sprintf("daemon, by %s, %s", by, c.Since.Local().Format(time.DateTime))
}

// listed names contributions for a message.
func listed(list []control.Contribution) []string {
	return lo.Map(list, func(c control.Contribution, _ int) string { return c.ID + " (" + contributedBy(c) + ")" })
}
