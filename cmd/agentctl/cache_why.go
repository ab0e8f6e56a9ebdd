package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"agentctl/envcache"
	"agentctl/worker"

	"github.com/spf13/cobra"
)

func (a *app) cacheWhy() *cobra.Command {
	o := newOutput(asJSON, asYAML)
	cmd := &cobra.Command{
		Use: "why TASK | why KEY [KEY]", Short: "Tell why a task's environment was found or built, or how two differ",
		Long: `Tell why the environment of a task that ran here was found in the cache or had to
be built, and by which part of the key it differs from the nearest other one. With
the key of an environment in place of the task: how it differs from the nearest,
or from another.`,
		Example: "  agentctl cache why 3f2a91c0\n  agentctl cache why 5d41402a 7b52009b",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCache(cmd.Context(), func(c *envcache.Cache, state string) error {
				w, err := a.reasonOf(c, state, args)
				if err != nil {
					return err
				}
				if o.structured() {
					return o.write(a.Stdout, w)
				}
				p := newPage(a.Stdout, time.Now())
				p.why(w)
				return p.w.Flush()
			})
		},
	}
	o.flag(cmd)
	return a.completeKeys(cmd, func(state string) (ids []string) {
		recs, _ := worker.History(state)
		for _, r := range recs {
			ids = append(ids, r.Task+"\t"+r.Name)
		}
		return ids
	})
}

// why is what is known of the reason for an environment.
type why struct {
	Task        string `json:"task,omitempty"`
	Name        string `json:"name,omitempty"`
	Status      string `json:"status,omitempty"`
	Message     string `json:"message,omitempty"`
	Environment string `json:"environment,omitempty"` // key
	Result      string `json:"result,omitempty"`      // hit or built
	Why         string `json:"why,omitempty"`         // as the agent saw it then
	Kept        bool   `json:"kept"`                  // the environment is here
	Nearest     string `json:"nearest,omitempty"`     // key of the nearest other one
	Difference  string `json:"difference,omitempty"`  // to it
}

func (a *app) reasonOf(c *envcache.Cache, state string, args []string) (why, error) {
	if len(args) == 2 {
		return difference(c, args[0], args[1])
	}
	rec, err := findRecord(state, args[0])
	if err != nil {
		return why{}, err
	}
	if rec != nil {
		return ofTask(c, state, rec)
	}
	e, err := c.Find(args[0])
	if err != nil {
		return why{}, fmt.Errorf("no task that ran here and no environment begins with %.64q", args[0])
	}
	return why{Environment: e.Key}.compared(c, e.Parts)
}

func difference(c *envcache.Cache, one, other string) (why, error) {
	a, err := c.Find(one)
	b, berr := c.Find(other)
	if err := errors.Join(err, berr); err != nil {
		return why{}, err
	}
	return why{Environment: a.Key, Kept: true, Nearest: b.Key, Difference: envcache.Difference(b.Parts, a.Parts)}, nil
}

// findRecord finds the record of a task by its id or the beginning of it; nil if
// there is none.
func findRecord(state, id string) (*worker.Record, error) {
	recs, err := worker.History(state)
	var found *worker.Record
	for _, r := range recs {
		switch {
		case r.Task == id:
			return r, nil
		case !strings.HasPrefix(r.Task, id):
		case found != nil:
			return nil, fmt.Errorf("several tasks begin with %.64q; write more of the id", id)
		default:
			found = r
		}
	}
	if found == nil {
		return nil, err // the one that is meant may be among those that can't be read
	}
	return found, nil
}

func ofTask(c *envcache.Cache, state string, r *worker.Record) (why, error) {
	w := why{Task: r.Task, Name: r.Name, Status: r.Verdict(), Environment: r.EnvKey, Result: r.Environment, Why: r.Why}
	if r.EnvKey == "" {
		if r.Final != nil {
			w.Message = r.Final.Message
		}
		return w, nil
	}
	if e, err := c.Find(r.EnvKey); err == nil {
		return w.compared(c, e.Parts)
	}
	parts, err := worker.KeyParts(state, r.Task)
	if err != nil || parts == nil {
		return w, err
	}
	return w.compared(c, parts)
}

// compared adds the nearest other environment.
func (w why) compared(c *envcache.Cache, parts []envcache.Part) (why, error) {
	_, err := c.Find(w.Environment)
	w.Kept = err == nil
	nearest, diff, ok, err := c.Nearest(parts, w.Environment)
	if ok {
		w.Nearest, w.Difference = nearest.Key, diff
	}
	return w, err
}

func (p *page) why(w why) {
	if w.Task != "" {
		p.line("Task", "%s %s", w.Task, w.Name)
		p.line("Status", "%s", w.Status)
	}
	switch {
	case w.Environment == "":
		p.line("Environment", "none")
		p.line("Message", "%s", w.Message)
		return
	case w.Kept:
		p.line("Environment", "%s", w.Environment)
	default:
		p.line("Environment", "%s, which is not kept any more", w.Environment)
	}
	p.line("Result", "%s", w.Result)
	p.line("Why", "%s", w.Why)
	if w.Nearest == "" {
		p.line("Nearest", "no other environment is kept")
		return
	}
	p.line("Nearest", "%s", w.Nearest)
	p.line("Differs by", "%s", either(w.Difference, "nothing but the time at which the list was resolved"))
}
