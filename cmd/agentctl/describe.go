package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"

	"github.com/spf13/cobra"
)

func (a *app) describeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe", Short: "Tell all about the node, a worker, a task or a GPU",
		Example: "  agentctl describe node\n  agentctl describe worker train/0\n  agentctl describe task 3f2a91c0\n  agentctl describe gpu 0",
	}
	cmd.AddCommand(
		a.describing("node", cobra.NoArgs, func(p *page, s *reconcile.Snapshot, who control.Agent, _ string) error {
			p.node(s, who)
			return nil
		}),
		a.describing("worker", cobra.ExactArgs(1), func(p *page, s *reconcile.Snapshot, _ control.Agent, name string) error {
			for _, w := range s.Workers {
				if w.Name == name {
					p.worker(w)
					return nil
				}
			}
			return fmt.Errorf("there is no worker %q on this node", name)
		}),
		a.describing("task", cobra.ExactArgs(1), func(p *page, s *reconcile.Snapshot, _ control.Agent, id string) error {
			t, err := control.FindTask(s, id)
			if err == nil {
				p.task(t)
			}
			return err
		}),
		a.describeGPU(),
	)
	return group(cmd)
}

func (a *app) describing(what string, args cobra.PositionalArgs, fill func(*page, *reconcile.Snapshot, control.Agent, string) error) *cobra.Command {
	use, example := what, "  agentctl describe "+what
	switch what {
	case "worker":
		use, example = "worker NAME", example+" train/0"
	case "task":
		use, example = "task ID", example+" 3f2a91c0"
	}
	return &cobra.Command{
		Use: use, Short: "Tell all about " + map[string]string{"node": "the node", "worker": "a worker", "task": "a task that runs or ran here"}[what],
		Example: example, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error { return a.describe(cmd.Context(), one(args), fill) },
	}
}

func (a *app) describe(ctx context.Context, arg string, fill func(*page, *reconcile.Snapshot, control.Agent, string) error) error {
	c := a.client()
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	who, err := c.Agent(ctx)
	if err != nil {
		return err
	}
	p := newPage(a.Stdout, time.Now())
	if p.from, err = a.origins(ctx, c); err != nil {
		return err
	}
	if err := fill(p, s, who, arg); err != nil {
		return err
	}
	return p.w.Flush()
}

// page is a list of labels and values.
type page struct {
	w    *tabwriter.Writer
	now  time.Time
	from origins
}

func newPage(to io.Writer, now time.Time) *page {
	return &page{w: tabwriter.NewWriter(to, 0, 0, 2, ' ', 0), now: now}
}

// line prints a value; an empty one is left out.
func (p *page) line(label, format string, args ...any) {
	if value := strings.TrimSpace(fmt.Sprintf(format, args...)); value != "" {
		fmt.Fprintf(p.w, "%s:\t%s\n", label, printable(value))
	}
}

// at prints a moment and how long ago it was.
func (p *page) at(label string, t time.Time) {
	if !t.IsZero() {
		p.line(label, "%s (%s ago)", t.Local().Format("2006-01-02 15:04:05"), age(t, p.now))
	}
}

func (p *page) section(title string) { fmt.Fprintf(p.w, "%s:\n", title) }

func (p *page) conditions(list []reconcile.Condition) {
	if len(list) == 0 {
		return
	}
	p.section("Conditions")
	fmt.Fprintln(p.w, "  TYPE\tSTATUS\tAGE\tREASON\tMESSAGE")
	for _, c := range list {
		cells := []string{c.Type, c.Status, age(c.Since, p.now), c.Reason, c.Message}
		fmt.Fprintln(p.w, "  "+printableCells(cells))
	}
}

func printableCells(cells []string) string {
	var out []string
	for _, cell := range cells {
		out = append(out, printable(orDash(cell)))
	}
	return strings.Join(out, "\t")
}

func (p *page) node(s *reconcile.Snapshot, who control.Agent) {
	p.line("Name", "%s", nodeTitle(s))
	if s.Node != nil {
		for _, key := range slices.Sorted(maps.Keys(s.Node.Metadata.Labels)) {
			p.line("Label", "%s=%s", key, s.Node.Metadata.Labels[key])
		}
	}
	p.line("Agent", "%s, pid %d, for %s", who.Version, who.PID, age(who.Started, p.now))
	p.line("State", "%s", who.State)
	if who.HostState != "" {
		p.line("On the machine", "%s", who.HostState)
	}
	if who.Source.Kind != "" {
		p.line("Source", "%s, given by %s", placeOf(who.Source), who.Source.By)
	}
	if s.Suspension != nil {
		p.line("Suspended", "%s", s.Suspension)
	}
	if s.Suspension != nil && s.Waiting != nil {
		p.line("Waiting", "%s", s.Waiting)
	}
	p.line("Revision", "%s", revision(s.LastApplied))
	p.at("Applied", s.LastApplied.Time)
	if s.LastAttempted.Digest != s.LastApplied.Digest && s.Suspension == nil {
		p.line("Refused", "%s", cut(s.LastAttempted.Digest, 13))
		p.at("Refused at", s.LastAttempted.Time)
	}
	p.line("Server", "%s", serverState(s.Server))
	p.line("Server error", "%s", s.Server.Error)
	p.line("Workers", "%d, %d of them with a task", len(s.Workers), running(s))
	p.conditions(s.Conditions)
	for i, w := range s.Warnings {
		if i == 0 {
			p.section("Warnings")
		}
		fmt.Fprintln(p.w, "  "+printable(w.String()))
	}
	if s.Suspension != nil && s.Waiting != nil && len(s.Waiting.Changes) > 0 {
		p.section("Changes that wait for agentctl resume")
		for _, c := range s.Waiting.Changes {
			fmt.Fprintln(p.w, "  "+printable(changeLine(c)))
		}
	}
	for i, act := range s.Plan.Actions {
		if i == 0 {
			p.section("Plan")
		}
		fmt.Fprintf(p.w, "  %s %s\t%s\t%s\n", signs[act.Verb].text, act.Worker, act.Verb, printable(act.Reason))
	}
}

func (p *page) worker(w reconcile.WorkerStatus) {
	p.line("Name", "%s", w.Name)
	p.line("Worker id", "%s", w.Spec.ID)
	p.line("Origin", "%s", p.from.of(w.Spec.Group))
	p.line("Command", "%s", p.from[w.Spec.Group].Command)
	p.line("State", "%s, for %s", workerState(w), age(w.Since, p.now))
	p.line("Message", "%s", w.Message)
	p.line("Queues", "%s (%s)", strings.Join(w.Spec.Queues, ", "), w.Spec.Order)
	p.line("Mode", "%s", w.Spec.Mode)
	p.line("User", "%s", w.Spec.RunAs)
	p.line("Packages by", "%s", packages(w.Spec.PackageManager))
	if w.Spec.MaxRuntime > 0 {
		p.line("Time limit", "%s", w.Spec.MaxRuntime)
	}
	p.line("Grace", "%s between SIGTERM and SIGKILL", w.Spec.StopGrace)
	p.conditions(w.Conditions)
	p.short("Task", w.Task)
	p.line("Prepares ahead", "%s", w.Ahead)
	p.short("Last task", w.Last)
}

func (p *page) short(label string, t *reconcile.TaskStatus) {
	if t != nil {
		p.line(label, "%s %s, %s, leased %s ago", t.ID, cut(t.Name, 40), taskState(*t), age(t.Leased, p.now))
	}
}

func packages(m spec.PackageManager) string {
	s := m.Type
	if len(m.CondaChannels) > 0 {
		s += ", channels " + strings.Join(m.CondaChannels, " ")
	}
	if m.Python.Default != "" {
		s += ", python " + m.Python.Default
	}
	if m.IndexURL != "" {
		s += ", from " + m.IndexURL
	}
	return s
}
