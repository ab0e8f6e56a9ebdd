package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"agentctl/control"
	"agentctl/internal/crash"
	"agentctl/source"
	"agentctl/spec"

	"github.com/samber/lo"
)

// Contributions lists what was contributed, oldest first.
func (ag *agent) Contributions() []control.Contribution {
	return lo.Map(ag.sources.Contributions(), func(c source.Contribution, _ int) control.Contribution { return contribution(c) })
}

// contribution gives a record the form of the control API.
func contribution(c source.Contribution) control.Contribution {
	return control.Contribution{ID: c.ID, Workers: c.Workers, By: c.By, Since: c.Since, Command: c.Command, Followed: c.Owner.PID > 0 && !abandoned(c)}
}

// Contribute adds workers to those of the source. What does not come into force is
// taken back: nobody would know of it.
func (ag *agent) Contribute(ctx context.Context, r control.ContributeRequest) (reply control.ContributeReply, err error) {
	w := source.Wanted{
		Slot: r.Slot, Abandoned: abandoned,
		Contribution: source.Contribution{
			ID: r.ID, Workers: r.Workers, By: control.Caller(ctx), Since: time.Now(), Command: r.Command, Git: r.Git, Owner: source.Owner{Boot: bootID()},
		},
	}
	if pid := control.CallerPID(ctx); r.Follow && pid > 0 {
		w.Owner.PID, w.Owner.Start = pid, startOf(pid)
	}
	before := ag.sources.Contributions()
	c, u, err := ag.sources.Contribute(w)
	if err != nil {
		return reply, refusal(err)
	}
	// A caller that goes now must not leave it recorded and not in force.
	ctx = context.WithoutCancel(ctx)
	res, err := ag.submitSpec(ctx, u)
	if err != nil {
		return reply, err
	}
	recorded := slices.ContainsFunc(ag.sources.Contributions(), func(o source.Contribution) bool { return o.ID == c.ID && o.Since.Equal(c.Since) })
	if recorded && !ag.sources.Has(c) { // else it is there, or somebody has taken it away already
		back, found, werr := ag.sources.Withdraw(c.ID, c.By)
		if found && werr == nil {
			_, werr = ag.submitSpec(ctx, back)
		}
		if werr != nil {
			ag.log.Warn("contributed workers that were refused can't be taken back", "id", c.ID, "error", werr)
		}
		return reply, &control.Error{Code: control.CodeInvalid, Message: "cannot add the worker: " + res.Error, Problems: res.Problems}
	}
	crash.Point("agent.contributed")
	replaced := lo.ContainsBy(before, func(o source.Contribution) bool { return o.ID == c.ID })
	return control.ContributeReply{Contribution: contribution(c), Replaced: replaced, Generation: res.Generation}, nil
}

// Withdraw takes contributed workers away; they go by the drain policy of their own.
func (ag *agent) Withdraw(ctx context.Context, r control.WithdrawRequest) (reply control.WithdrawReply, err error) {
	for _, c := range ag.sources.Contributions() {
		if c.ID == r.ID {
			reply.Groups = lo.Map(c.Workers, func(g spec.WorkerSpec, _ int) string { return g.Name })
		}
	}
	u, found, err := ag.sources.Withdraw(r.ID, control.Caller(ctx))
	if err == nil && !found {
		err = &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("no contributed worker has the id %.150q; see agentctl get workers -o wide", r.ID)}
	}
	if err != nil {
		return reply, err
	}
	res, err := ag.submitSpec(context.WithoutCancel(ctx), u)
	reply.Generation = res.Generation
	return reply, err
}

// abandoned tells that nobody stays with a contribution any more: its command has
// ended, or the machine was started anew since.
func abandoned(c source.Contribution) bool {
	if c.Owner.Boot != bootID() {
		return true
	}
	return c.Owner.PID > 0 && startOf(c.Owner.PID) != c.Owner.Start
}

func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(id))
}

// startOf is when a process was started, in ticks of the kernel; "" if it is not there.
// The name of its program comes before, in parentheses, and may hold anything.
func startOf(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	const after = 19 // the 22nd field is the 20th behind the name
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= after || string(fields[0]) == "Z" {
		return ""
	}
	return string(fields[after])
}
