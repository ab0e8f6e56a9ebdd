package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"agentctl/control"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

func (a *app) blameCmd() *cobra.Command {
	out := newOutput(asTable, asJSON, asYAML)
	cmd := &cobra.Command{
		Use: "blame [FIELD]", Short: "Tell which revision set a field, when, and by whom",
		Long: `Tell of each field of the spec in force, or of those that FIELD names, which
revision changed it last, with its commit and author, or who applied it. FIELD is a
path as "agentctl plan" and "agentctl diff" print it, also without "spec."; that of
a group of workers may begin with the group. What revisions set that are not kept any
more is remembered.`,
		Example: "  agentctl blame train.image\n  agentctl blame server.url\n  agentctl blame train -o json\n  agentctl blame",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			defer c.Close()
			list, err := c.Blame(cmd.Context())
			if err != nil {
				return err
			}
			if want := one(args); want != "" {
				if list = lo.Filter(list, func(b control.Blame, _ int) bool { return named(b.Path, want) }); len(list) == 0 {
					return fmt.Errorf("the spec in force has no field %q; see agentctl blame", want)
				}
			}
			if out.structured() {
				return out.write(a.Stdout, list)
			}
			return table(a.Stdout, []string{"FIELD", "VALUE", "REVISION", "TIME", "AUTHOR", "COMMIT", "WRITTEN AT"}, lo.Map(list, blameRow))
		},
	}
	out.flag(cmd)
	return cmd
}

func blameRow(b control.Blame, _ int) []string {
	number, at := "older", ""
	if b.Revision > 0 {
		number, at = strconv.FormatInt(b.Revision, 10), b.Time.Local().Format(time.DateTime)
	}
	return []string{
		strings.TrimPrefix(b.Path, "spec."), cut(b.Value, 50), number, at, cut(author(b.Commit, b.By, b.Cause), 40), commitHash(b.Commit), tail(b.Where),
	}
}

// named tells whether a path is, or lies in, what a person calls want: a path, the same
// without spec., or GROUP.FIELD.
func named(path, want string) bool {
	group, field, _ := strings.Cut(want, ".")
	wants := []string{want, "spec." + want, "spec.workers[" + group + "]"}
	if field != "" {
		wants[2] += "." + field
	}
	return lo.ContainsBy(wants, func(w string) bool {
		rest, ok := strings.CutPrefix(path, w)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}
