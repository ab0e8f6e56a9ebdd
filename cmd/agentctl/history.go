package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/reconcile"

	"github.com/spf13/cobra"
)

func (a *app) historyCmd() *cobra.Command {
	return a.listHistory("agentctl history")
}

// listHistory is `history`, and `get history`, which says the same.
func (a *app) listHistory(path string) *cobra.Command {
	most := 0
	cmd := listCmd(a, kind[control.Revision]{
		use: "history", short: "Show which specs were in force, when, by whom, and what came of them", noun: "revisions",
		example: "  " + path + "\n  " + path + " -n 5 -o wide\n  " + path + " 12 -o json    # with each change and the plan",
		name:    func(r control.Revision) string { return strconv.FormatInt(r.Number, 10) },
		columns: historyColumns(),
		follow: func(ctx context.Context, watching bool, see func([]control.Revision) error) error {
			c := a.client()
			defer c.Close()
			return poll(ctx, watching, func() error {
				list, err := c.History(ctx)
				if err != nil {
					return err
				}
				if most > 0 && most < len(list) {
					list = list[:most]
				}
				return see(list)
			})
		},
	})
	cmd.Use = "history [REVISION…]"
	cmd.Long = `Show the specs that were in force, the newest first: where each came from, who
wrote or applied it, whether the node reached it and how long that took, and which
fields it changed. See "agentctl diff", "agentctl rollback" and "agentctl blame".`
	cmd.Flags().IntVarP(&most, "limit", "n", 0, "show the newest so many")
	return cmd
}

func historyColumns() []column[control.Revision] {
	type row = control.Revision
	return []column[row]{
		{head: "REVISION", cell: func(r row, _ time.Time) string { return strconv.FormatInt(r.Number, 10) }},
		{head: "TIME", cell: func(r row, _ time.Time) string { return r.Time.Local().Format(time.DateTime) }},
		{head: "SOURCE", cell: func(r row, _ time.Time) string { return cameFrom(r) }},
		{head: "COMMIT", cell: func(r row, _ time.Time) string { return commitHash(r.Commit) }},
		{head: "AUTHOR", cell: func(r row, _ time.Time) string { return cut(author(r.Commit, r.By, r.Cause), 40) }},
		{head: "RESULT", cell: func(r row, _ time.Time) string { return cmp.Or(r.Result, "open") }},
		{head: "TOOK", cell: func(r row, _ time.Time) string { return convergence(r) }},
		{head: "BY", wide: true, cell: func(r row, _ time.Time) string { return r.By }},
		{head: "SIGNER", wide: true, cell: func(r row, _ time.Time) string { return signer(r.Commit) }},
		{head: "DIGEST", wide: true, cell: func(r row, _ time.Time) string { return cut(r.Digest, 13) }},
		{head: "MESSAGE", wide: true, cell: func(r row, _ time.Time) string { return cut(cmp.Or(r.Message, subject(r.Commit)), 60) }},
		{head: "CHANGES", cell: func(r row, _ time.Time) string { return changed(r) }},
	}
}

// cameFrom says why a revision became the spec.
func cameFrom(r control.Revision) string {
	switch r.Cause {
	case "rollback", "revert":
		return fmt.Sprintf("%s to %d", r.Cause, r.From)
	case "try":
		return "try " + place(r.Source)
	}
	return place(r.Source)
}

func place(o reconcile.Origin) string {
	o.Path = tail(o.Path)
	return origin(o)
}

// maxPlace is how much of a path a table shows: its end, which tells files apart.
const maxPlace = 40

func tail(path string) string {
	if r := []rune(path); len(r) > maxPlace {
		return "…" + string(r[len(r)-maxPlace:])
	}
	return path
}

func commitHash(c *reconcile.Commit) string {
	if c == nil {
		return ""
	}
	return cut(c.Hash, 9)
}

// author of a commit, or else who gave the order; whoever went back to one is no author
// of it, and answers for that it is in force.
func author(c *reconcile.Commit, by, cause string) string {
	if c == nil || cause == "rollback" || cause == "revert" {
		return by
	}
	return c.Author
}

func signer(c *reconcile.Commit) string {
	if c == nil {
		return ""
	}
	return c.Signer
}

func subject(c *reconcile.Commit) string {
	if c == nil {
		return ""
	}
	return c.Subject
}

// convergence is how long it took until all workers were as the spec says.
func convergence(r control.Revision) string {
	if r.Result != reconcile.ResultConverged {
		return ""
	}
	return span(max(r.Finished.Sub(r.Time), time.Microsecond))
}

// changed names the fields that a revision changed.
func changed(r control.Revision) string {
	var paths []string
	for _, c := range r.Changes {
		paths = append(paths, strings.TrimPrefix(c.Path, "spec."))
	}
	switch {
	case len(paths) == 0:
		return ""
	case len(paths) == 1 && !r.Partial:
		return cut(paths[0], 60)
	}
	return cut(fmt.Sprintf("%d: %s", len(paths), strings.Join(paths, ", ")), 60)
}
