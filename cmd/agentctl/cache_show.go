package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"agentctl/envcache"
	"agentctl/worker"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

func (a *app) cacheShow() *cobra.Command {
	o := newOutput(asJSON, asYAML)
	cmd := &cobra.Command{
		Use: "show KEY", Short: "Tell all about an environment: what its key is made of, its packages, who uses it",
		Example: "  agentctl cache show 5d41402a\n  agentctl cache show 5d41402a -o json | jq .lock",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.showEnvironment(cmd.Context(), args[0], o) },
	}
	o.flag(cmd)
	return a.completeKeys(cmd)
}

// shownEnvironment is an environment with the tasks that use it.
type shownEnvironment struct {
	envcache.Entry
	Tasks []string `json:"tasks"`
}

func (a *app) showEnvironment(ctx context.Context, key string, o *output) error {
	return a.withCache(ctx, func(c *envcache.Cache, state string) error {
		e, err := c.Find(key)
		if err != nil {
			return err
		}
		users, err := usersOf(state, e.Key)
		if err != nil {
			return err
		}
		if o.structured() {
			return o.write(a.Stdout, shownEnvironment{e, users})
		}
		p := newPage(a.Stdout, time.Now())
		p.environment(e, users)
		return p.w.Flush()
	})
}

// usersOf lists the tasks that may be using an environment.
func usersOf(state, key string) ([]string, error) {
	recs, err := worker.History(state)
	if recs == nil && err != nil {
		return nil, err
	}
	// A record that can't be read hides no other.
	return lo.FilterMap(recs, func(r *worker.Record, _ int) (string, bool) { return r.Task, r.EnvKey == key && r.Holds() }), nil
}

func (p *page) environment(e envcache.Entry, tasks []string) {
	p.line("Key", "%s", e.Key)
	p.line("Path", "%s", e.Path)
	p.line("Manager", "%s", e.Manager)
	p.line("Python", "%s", e.Python)
	p.line("Size", "%s", bytesOf(e.Bytes))
	p.at("Created", e.Created)
	p.at("Last used", e.Used)
	p.line("In use", "%s", strings.TrimSpace(yesNo(e.InUse)+" "+byTasks(tasks)))
	if e.Dirty {
		p.line("Changed", "yes; no task gets it any more")
	}
	if e.Doubt {
		p.line("Unchecked", "yes; the machine went down while it was in use, and its files are checked before a task gets it")
	}
	p.line("Origin", "%s", e.Origin)
	p.section("Key made of")
	for _, part := range e.Parts {
		fmt.Fprintf(p.w, "  %s\t%s\n", printable(part.Name), printable(orDash(part.Value+strings.Join(part.Lines, ", "))))
	}
	p.list("Packages", e.Frozen)
	p.list("Variables", e.Variables)
	if e.Lock != nil {
		p.list("Lock of conda", e.Lock.Conda)
		p.list("Lock", e.Lock.Packages)
		p.line("Lock file", "%s %s", e.Lock.File, e.Lock.SHA256)
	}
}

// list prints a section with a line for each text.
func (p *page) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	p.section(title)
	for _, l := range lines {
		fmt.Fprintln(p.w, "  "+printable(l))
	}
}

func byTasks(tasks []string) string {
	if len(tasks) == 0 {
		return ""
	}
	return "by " + strings.Join(tasks, ", ")
}
