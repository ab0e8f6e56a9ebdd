package main

import (
	"fmt"

	"agentctl/reconcile"
)

// step is where a task is on its way, or was last.
func step(t reconcile.TaskStatus) string {
	if t.Ended.IsZero() {
		return taskState(t)
	}
	return t.Phase
}

// sandboxMade is when the task's sandbox was made.
func sandboxMade(t reconcile.TaskStatus) string {
	return map[string]string{
		"ahead": "made before the task came", "beside": "made beside its environment and its code", "cold": "made when the task was ready",
	}[t.Sandbox]
}

func (p *page) task(t reconcile.TaskStatus) {
	p.line("Task", "%s", t.ID)
	p.line("Name", "%s", t.Name)
	p.line("Status", "%s", t.Status)
	p.line("Reason", "%s", t.Reason)
	p.line("Message", "%s", t.Message)
	p.line("Step", "%s", step(t))
	p.line("Exit code", "%s", exitCode(t))
	p.line("Worker", "%s", t.Worker)
	p.line("Queue", "%s", t.Queue)
	p.at("Leased", t.Leased)
	p.at("Started", t.Started)
	p.at("Ended", t.Ended)
	p.line("Took", "%s", span(took(t, p.now)))
	p.line("Environment", "%s %s", environment(t), t.EnvKey)
	p.line("Because", "%s", t.Why)
	p.line("Lock", "%s", t.LockKey)
	p.line("Commit", "%s", t.Commit)
	p.line("Containment", "%s", t.Containment)
	p.line("View of files", "%s", t.MountNS)
	p.line("Image", "%s", t.Image)
	p.line("Digest", "%s", t.ImageDigest)
	p.line("Rule", "%s", t.Rule)
	p.line("Network", "%s", t.Network)
	if t.HostUser != 0 {
		p.line("User", "%s inside, user %d of the host", t.User, t.HostUser)
	}
	p.line("Sandbox", "%s", sandboxMade(t))
	if len(t.Times) > 0 {
		p.section("Phases")
		for _, one := range t.Times {
			fmt.Fprintf(p.w, "  %s\t%s\n", printable(one.Name), orDash(span(one.Took)))
		}
	}
}
