package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"agentctl/control"
	"agentctl/reconcile"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

// Verdicts of a check.
const (
	verdictOK   = "ok"
	verdictWarn = "warn" // works, less well than it could
	verdictFail = "fail"
)

// check is one thing that was looked at.
type check struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
	Fix     string `json:"fix,omitempty"`
}

func ok(name, detail string, args ...any) check {
	return check{name, verdictOK, fmt.Sprintf(detail, args...), ""}
}

func warn(name, fix, detail string, args ...any) check {
	return check{name, verdictWarn, fmt.Sprintf(detail, args...), fix}
}

func fail(name, fix, detail string, args ...any) check {
	return check{name, verdictFail, fmt.Sprintf(detail, args...), fix}
}

func (a *app) doctorCmd() *cobra.Command {
	out := newOutput(asJSON, asYAML)
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check what works on this machine and say how to mend what does not",
		Long: `Check what tasks need on this machine: Python, git, the disk, the state folder and
its way for the users of tasks; by which means a task's processes can be held and
its files shown, each tried with a small program; the agent, its spec and its
server. A line "fix" says what to do. Exit code 1 if something does not work;
"warn" works, less well than it could.`,
		Example: "  agentctl doctor\n  sudo agentctl doctor -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := a.checks(cmd.Context())
			if err != nil {
				return err
			}
			if out.format != "" {
				err = out.write(a.Stdout, checks)
			} else {
				err = a.writeChecks(checks)
			}
			if bad := lo.CountBy(checks, func(c check) bool { return c.Verdict == verdictFail }); err == nil && bad > 0 {
				return &exitError{exitFailed, fmt.Errorf("%s failed", plural(bad, "check"))}
			}
			return err
		},
	}
	out.flag(cmd)
	return cmd
}

func (a *app) writeChecks(checks []check) error {
	var rows [][]string
	for _, c := range checks {
		rows = append(rows, []string{c.Name, c.Verdict, cut(c.Detail, 160)})
		if c.Fix != "" {
			rows = append(rows, []string{"", "fix", c.Fix})
		}
	}
	for _, row := range rows {
		if row[0] == "" {
			row[0] = " "
		}
	}
	return table(a.Stdout, []string{"CHECK", "RESULT", "DETAIL"}, rows)
}

func (a *app) checks(ctx context.Context) ([]check, error) {
	h, err := lookAtHost(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the machine: %w", err)
	}
	list := slices.Concat(
		[]check{checkPython(h), checkGit(h)},
		a.checkState(), a.checkUser(),
		a.checkRuntime(ctx),
		checkGPUs(h),
		a.checkAgent(ctx),
	)
	return list, ctx.Err()
}

func checkPython(h host) check {
	const name, fix = "python", "install one, as: apt install python3 python3-venv"
	if len(h.Pythons) == 0 {
		return fail(name, fix, "no Python 3 was found")
	}
	var found []string
	for _, p := range h.Pythons {
		found = append(found, p.String())
	}
	if n := h.Pythons[0].Numbers(); n[0] == 3 && n[1] < 9 {
		return fail(name, fix, "%s is older than 3.9", h.Pythons[0])
	}
	return ok(name, "%s", joined(found))
}

func joined(parts []string) string {
	const most = 4
	if len(parts) > most {
		parts = append(slices.Clone(parts[:most]), fmt.Sprintf("and %d more", len(parts)-most))
	}
	return strings.Join(parts, ", ")
}

func checkGit(h host) check {
	if h.Git == "" {
		return fail("git", "install it, as: apt install git", "there is no git; tasks with a repository fail")
	}
	return ok("git", "%s", h.Git)
}

// checkAgent looks at what runs. No agent is no fault: doctor is run before the
// first apply.
func (a *app) checkAgent(ctx context.Context) []check {
	c := a.client()
	defer c.Close()
	who, err := c.Agent(ctx)
	if err != nil {
		return []check{warn("agent", "start one: agentctl apply node.yaml", "%v", err)}
	}
	list := []check{ok("agent", "%s, pid %d, state in %s", who.Version, who.PID, who.State)}
	if who.Version != version {
		list[0] = warn("agent", "restart the agent; running tasks go on", "the agent is %s, this command is %s", who.Version, version)
	}
	snap, err := c.Status(ctx)
	if err != nil {
		return append(list, fail("agent", "see the agent's log", "%v", err))
	}
	list = append(list, checkSpec(snap, who), a.checkServer(ctx, c, snap))
	return append(list, checkGPUUse(ctx, c, snap)...)
}

func checkSpec(snap *reconcile.Snapshot, who control.Agent) check {
	c, _ := snap.Condition(reconcile.SpecAccepted)
	switch {
	case c.Status == reconcile.True:
		return ok("spec", "revision %s from %s %s", revision(snap.LastApplied), who.Source.Kind, who.Source.Path)
	case snap.LastApplied.Digest == "":
		return warn("spec", "agentctl init, then agentctl apply node.yaml", "%s", c.Message)
	}
	return fail("spec", "agentctl validate "+who.Source.Path, "%s", c.Message)
}

// checkServer logs in and asks the server what it is.
func (a *app) checkServer(ctx context.Context, c *control.Client, snap *reconcile.Snapshot) check {
	const name = "server"
	way, err := a.nodeServer(ctx, c, snap)
	if err != nil {
		if len(snap.Workers) == 0 {
			return ok(name, "none is needed: there are no workers")
		}
		return fail(name, "see the agent's log", "%v", err)
	}
	defer way.Client.Close()
	of, err := way.Client.ServerVersion(ctx)
	if err == nil {
		_, err = way.Client.ListQueues(ctx)
	}
	if err != nil {
		return fail(name, "check spec.server.url and the keys in spec.server.credentialsFile", "%s: %v", way.Endpoints.API, err)
	}
	return ok(name, "%s answers, version %s", way.Endpoints.API, of)
}

// silent is for what logs where only its result counts.
func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }
