package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentctl/control"
	"agentctl/envcache"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

// environmentColumns are what `cache ls` and `get environments` show.
func environmentColumns() []column[control.Environment] {
	type row = control.Environment
	return []column[row]{
		{head: "KEY", cell: func(e row, _ time.Time) string { return e.Key }},
		{head: "MANAGER", cell: func(e row, _ time.Time) string { return e.Manager }},
		{head: "PYTHON", cell: func(e row, _ time.Time) string { return e.Python }},
		{head: "PACKAGES", cell: func(e row, _ time.Time) string { return fmt.Sprint(len(e.Packages)) }},
		{head: "SIZE", cell: func(e row, _ time.Time) string { return bytesOf(e.Bytes) }},
		{head: "CREATED", cell: func(e row, now time.Time) string { return age(e.Created, now) }},
		{head: "LAST USED", cell: func(e row, now time.Time) string { return age(e.Used, now) }},
		{head: "IN USE", cell: func(e row, _ time.Time) string { return usage(e) }},
		{head: "PATH", wide: true, cell: func(e row, _ time.Time) string { return e.Path }},
	}
}

// usage tells whether an environment is leased, and what keeps it from being leased.
func usage(e control.Environment) string {
	switch {
	case e.Dirty:
		return yesNo(e.InUse) + ",changed"
	case e.Doubt:
		return yesNo(e.InUse) + ",unchecked"
	}
	return yesNo(e.InUse)
}

// environmentRows gives the entries of a cache the form of the control API.
func environmentRows(entries []envcache.Entry) []control.Environment {
	return lo.Map(entries, func(e envcache.Entry, _ int) control.Environment {
		return control.Environment{
			Key: e.Key, Path: e.Path, Manager: e.Manager, Python: e.Python, Bytes: e.Bytes,
			Created: e.Created, Used: e.Used, InUse: e.InUse, Dirty: e.Dirty, Doubt: e.Doubt, Packages: e.Frozen,
		}
	})
}

func (a *app) cacheLs() *cobra.Command {
	return a.completeKeys(listCmd(a, kind[control.Environment]{
		use: "ls", noun: "environments", short: "List the environments, the last used first", aliases: []string{"list"},
		example: "  agentctl cache ls\n  agentctl cache ls -o json | jq '.[].packages'\n  agentctl cache ls -o name",
		name:    func(e control.Environment) string { return e.Key }, prefix: true,
		columns: environmentColumns(),
		follow: func(ctx context.Context, watching bool, see func([]control.Environment) error) error {
			err := a.withCache(ctx, func(c *envcache.Cache, _ string) error {
				return poll(ctx, watching, func() error {
					entries, err := c.Entries()
					if err != nil {
						return err
					}
					return see(environmentRows(entries))
				})
			})
			if errors.Is(err, errNoCache) {
				return see(nil)
			}
			return err
		},
	}))
}
