package control

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentctl/reconcile"
	"agentctl/spec"
)

func (s *Server) environments(*http.Request) (any, error) {
	list, err := s.cfg.Environments.Environments()
	if list == nil {
		list = []Environment{}
	}
	return list, err
}

func (s *Server) usages(*http.Request) (any, error) {
	list := s.cfg.Tasks.Usages()
	if list == nil {
		list = []Usage{}
	}
	return list, nil
}

func (s *Server) audit(_ context.Context, r AuditRequest) (any, error) {
	list, err := s.cfg.Tasks.Audit(r.Names)
	if list == nil {
		list = []Reach{}
	}
	return list, err
}

func (s *Server) plan(_ context.Context, r PlanRequest) (any, error) {
	return s.cfg.Specs.Preview(r), nil
}

func (s *Server) apply(ctx context.Context, r ApplyRequest) (any, error) {
	if err := messageFits(r.Message); err != nil {
		return nil, err
	}
	return s.cfg.Specs.Apply(ctx, r)
}

func (s *Server) reload(ctx context.Context, r ReloadRequest) (any, error) {
	return s.cfg.Specs.Reload(ctx, r)
}

func (s *Server) fetch(ctx context.Context, r FetchRequest) (any, error) {
	return s.cfg.Specs.Fetch(ctx, r)
}

func (s *Server) shutdown(context.Context, struct{}) (any, error) {
	s.cfg.Log.Info("asked to end on the control socket")
	s.cfg.Shutdown()
	return struct{}{}, nil
}

func (s *Server) order(_ context.Context, r OrderRequest) (any, error) {
	names, err := s.workers(r.Worker)
	if err != nil {
		return nil, err
	}
	order, err := r.order(time.Now())
	if err != nil {
		return nil, err
	}
	s.cfg.Log.Info("order", "worker", r.Worker, "off", r.Off, "policy", r.Policy, "deadline", r.Deadline, "force", r.Force, "reason", r.Reason)
	if r.Worker == "" {
		return OrderReply{names}, s.cfg.Operator.Order("", order)
	}
	for _, name := range names {
		if err := s.cfg.Operator.Order(name, order); err != nil {
			return nil, err
		}
	}
	return OrderReply{names}, nil
}

// maxReason bounds what an operator writes.
const maxReason = 1000

// order is what r says, nil if it takes an order back.
func (r OrderRequest) order(now time.Time) (*reconcile.Order, error) {
	if r.Off {
		return nil, nil
	}
	switch {
	case !slices.Contains([]string{"", spec.DrainFinish, spec.DrainRequeue, spec.DrainStop, reconcile.DrainOwn}, r.Policy):
		return nil, &Error{Code: CodeBadRequest, Message: fmt.Sprintf("%.40q is no policy; write finish, requeue or stop", r.Policy)}
	case r.UntilReboot && r.Worker != "":
		return nil, &Error{Code: CodeBadRequest, Message: "a reboot is of the whole node: leave the worker out"}
	case r.Deadline < 0, len(r.Reason) > maxReason:
		return nil, &Error{Code: CodeBadRequest, Message: fmt.Sprintf("the deadline must not be negative, and the reason not longer than %d bytes", maxReason)}
	}
	o := &reconcile.Order{Policy: r.Policy, Force: r.Force, UntilReboot: r.UntilReboot, Reason: r.Reason, Since: now}
	if r.Deadline > 0 {
		o.Deadline = now.Add(r.Deadline)
	}
	return o, nil
}

// workers finds what a name means: one worker, a group, or for "" all.
func (s *Server) workers(name string) ([]string, error) {
	names := []string{}
	for _, w := range s.cfg.State.Snapshot().Workers {
		if name == "" || w.Name == name || w.Spec.Group == name {
			names = append(names, w.Name)
		}
	}
	if len(names) == 0 && name != "" {
		return nil, &Error{Code: CodeNotFound, Message: fmt.Sprintf("there is no worker %.100q on this node", name)}
	}
	return names, nil
}

func (s *Server) stop(_ context.Context, r StopRequest) (any, error) {
	t, err := FindTask(s.cfg.State.Snapshot(), r.Task)
	if err != nil {
		return nil, err
	}
	s.cfg.Log.Info("asked to stop a task", "task", t.ID)
	return StopReply{t.ID}, s.cfg.Operator.StopTask(t.ID)
}

func (s *Server) execute(ctx context.Context, r ExecuteRequest) (any, error) {
	s.cfg.Log.Info("asked to run a task", "task", r.Task)
	return struct{}{}, s.cfg.Operator.Execute(ctx, r)
}

// FindTask finds a task that the node knows by its id or the beginning of one.
func FindTask(s *reconcile.Snapshot, id string) (reconcile.TaskStatus, error) {
	var found []reconcile.TaskStatus
	for _, t := range s.Tasks {
		if t.ID == id {
			return t, nil
		}
		if id != "" && strings.HasPrefix(t.ID, id) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return reconcile.TaskStatus{}, &Error{Code: CodeNotFound, Message: fmt.Sprintf("this node knows no task %.100q", id)}
	}
	return reconcile.TaskStatus{}, &Error{Code: CodeAmbiguous, Message: fmt.Sprintf("%d tasks begin with %.100q; write more of the id", len(found), id)}
}

// active tells whether a worker has the task now.
func active(s *reconcile.Snapshot, id string) bool {
	return slices.ContainsFunc(s.Workers, func(w reconcile.WorkerStatus) bool { return w.Task != nil && w.Task.ID == id })
}

// healthz says that the agent answers.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintln(w, "ok")
}

// readyz says whether the node is as its spec wants it, and if not, why.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	snap := s.cfg.State.Snapshot()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if c, ok := snap.Condition(reconcile.Ready); !ok || c.Status != "True" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, c := range snap.Conditions {
		_, _ = fmt.Fprintf(w, "%s=%s %s %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
}
