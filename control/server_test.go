package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentctl/reconcile"
	"agentctl/spec"
)

func wantCode(t *testing.T, err error, code string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got the error %v, want one with the code %s", err, code)
	}
	return e
}

func TestStatusIsTheSnapshot(t *testing.T) {
	n := newNode(worker("train/0", "train", "t1"))
	c, _ := serve(t, n)
	got, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(n.Snapshot(), got); diff != "" {
		t.Error(diff)
	}
	agent, err := c.Agent(t.Context())
	if err != nil || agent.PID != 7 {
		t.Errorf("Agent: %+v, %v", agent, err)
	}
}

func TestWatchGivesThePresentAndWhatComes(t *testing.T) {
	n := newNode()
	c, stop := serve(t, n)
	var seen []int64
	err := c.Watch(t.Context(), func(s *reconcile.Snapshot) error {
		if seen = append(seen, s.Generation); s.Generation == 1 {
			n.set(&reconcile.Snapshot{Generation: 2})
			return nil
		}
		go stop() // stop waits for the streams, and so for this one
		return nil
	})
	stop()
	if !errors.Is(err, ErrCut) {
		t.Errorf("the agent ended, Watch says %v, want ErrCut", err)
	}
	if !slices.Equal(seen, []int64{1, 2}) {
		t.Errorf("saw the generations %v", seen)
	}
}

func TestWatchEndsWithItsReader(t *testing.T) {
	c, _ := serve(t, newNode())
	enough := errors.New("enough")
	if err := c.Watch(t.Context(), func(*reconcile.Snapshot) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Watch(ctx, func(*reconcile.Snapshot) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestPlanCarriesTheTextByteByByte(t *testing.T) {
	c, _ := serve(t, newNode())
	p, err := c.Plan(t.Context(), PlanRequest{File: "a.yaml", Text: []byte("kind: \xff\x00")})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Problems) != 1 || !strings.HasPrefix(p.Problems[0].String(), "a.yaml:1:") {
		t.Errorf("problems: %v", p.Problems)
	}
}

func TestApply(t *testing.T) {
	n := newNode()
	c, _ := serve(t, n)
	want := ApplyRequest{File: "/a.yaml", Text: []byte("x"), Watch: true, TakeOver: true}
	res, err := c.Apply(t.Context(), want)
	if err != nil || !res.Accepted {
		t.Fatalf("%+v, %v", res, err)
	}
	if diff := cmp.Diff([]ApplyRequest{want}, n.applied); diff != "" {
		t.Error(diff)
	}
	n.failWith = &Error{Code: CodeTakeOver, Message: "given by flags", Problems: spec.Problems{{Fault: "f"}}}
	_, err = c.Apply(t.Context(), want)
	if e := wantCode(t, err, CodeTakeOver); e.Message != "given by flags" || len(e.Problems) != 1 {
		t.Errorf("%+v", e)
	}
}

func TestTooLargeASpecIsRefused(t *testing.T) {
	n := newNode()
	c, _ := serve(t, n)
	if _, err := c.Apply(t.Context(), ApplyRequest{Text: make([]byte, spec.MaxSize)}); err != nil {
		t.Errorf("the largest spec is refused: %v", err)
	}
	_, err := c.Apply(t.Context(), ApplyRequest{Text: make([]byte, 2*maxBody)})
	wantCode(t, err, CodeTooLarge)
}

func TestOrder(t *testing.T) {
	n := newNode(worker("a/0", "a", ""), worker("a/1", "a", ""), worker("b/0", "b", ""))
	c, _ := serve(t, n)
	for _, row := range []struct {
		name  string
		names []string
		calls []string
	}{
		{"a/1", []string{"a/1"}, []string{"a/1"}},
		{"a", []string{"a/0", "a/1"}, []string{"a/0", "a/1"}},
		{"", []string{"a/0", "a/1", "b/0"}, []string{""}},
	} {
		n.ordered = map[string]*reconcile.Order{}
		names, err := c.Order(t.Context(), OrderRequest{Worker: row.name, Policy: "requeue", Reason: "kernel"})
		if err != nil || !slices.Equal(names, row.names) {
			t.Errorf("%q: %v, %v", row.name, names, err)
		}
		if len(n.ordered) != len(row.calls) {
			t.Errorf("%q: told %v, want %v", row.name, n.ordered, row.calls)
		}
		for _, call := range row.calls {
			if o := n.ordered[call]; o == nil || o.Policy != "requeue" || o.Reason != "kernel" {
				t.Errorf("%q: %q was not told", row.name, call)
			}
		}
	}
	_, err := c.Order(t.Context(), OrderRequest{Worker: "c"})
	wantCode(t, err, CodeNotFound)
	for _, bad := range []OrderRequest{{Policy: "kill"}, {Policy: "stop", Deadline: -1}, {Reason: strings.Repeat("x", 2000)}} {
		_, err = c.Order(t.Context(), bad)
		wantCode(t, err, CodeBadRequest)
	}
	n.failWith = errors.New("disk full")
	_, err = c.Order(t.Context(), OrderRequest{})
	wantCode(t, err, CodeInternal)
}

func TestStopFindsTheTaskByTheBeginningOfItsID(t *testing.T) {
	n := newNode(worker("a/0", "a", "abc1"), worker("a/1", "a", "abd2"), worker("a/2", "a", "ab"))
	c, _ := serve(t, n)
	for beginning, want := range map[string]string{"abc": "abc1", "abd2": "abd2", "ab": "ab"} {
		if got, err := c.StopTask(t.Context(), beginning); err != nil || got != want {
			t.Errorf("%q: %q, %v", beginning, got, err)
		}
	}
	_, err := c.StopTask(t.Context(), "a")
	wantCode(t, err, CodeAmbiguous)
	_, err = c.StopTask(t.Context(), "x")
	wantCode(t, err, CodeNotFound)
	_, err = c.StopTask(t.Context(), "")
	wantCode(t, err, CodeNotFound)
}

func TestExecute(t *testing.T) {
	c, _ := serve(t, newNode())
	all := spec.WorkerSpec{Image: "busybox:1", GPUs: spec.GPURequest{Mode: spec.GPUsList, Devices: []string{"0"}}}
	if err := c.Execute(t.Context(), ExecuteRequest{Task: "id", Worker: all, Force: true}); err != nil {
		t.Error(err)
	}
	wantCode(t, c.Execute(t.Context(), ExecuteRequest{Task: "x"}), CodeNotFound)
	if b, err := c.Build(t.Context(), BuildRequest{Task: "id", Worker: all}); err != nil || b.EnvKey != "key of id" {
		t.Errorf("built %+v, %v", b, err)
	}
}

func TestEmptyListsAreLists(t *testing.T) {
	c, _ := serve(t, newNode())
	list, err := c.Environments(t.Context())
	if err != nil || list == nil {
		t.Errorf("%v, %v", list, err)
	}
}

func TestShutdown(t *testing.T) {
	n := newNode()
	c, _ := serve(t, n)
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.down:
	case <-time.After(patience):
		t.Error("the program was not asked to end")
	}
}

func TestWhatTheServerDoesNotKnowIsRefused(t *testing.T) {
	c, _ := serve(t, newNode())
	err := c.call(t.Context(), http.MethodGet, "/v9/moon", nil, nil)
	wantCode(t, err, CodeNotFound)
	err = c.call(t.Context(), http.MethodPost, pathStop, map[string]any{"task": "a", "force": true}, nil)
	if e := wantCode(t, err, CodeBadRequest); !strings.Contains(e.Message, "force") {
		t.Errorf("the field is not named: %s", e.Message)
	}
	err = c.call(t.Context(), http.MethodPost, pathStop, []int{1}, nil)
	wantCode(t, err, CodeBadRequest)
}

func get200(t *testing.T, c *Client, path string) (status int, text string) {
	t.Helper()
	resp, err := c.http.Get("http://agentctl" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

func TestHealth(t *testing.T) {
	n := newNode()
	c, _ := serve(t, n)
	if status, _ := get200(t, c, "/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
	if status, _ := get200(t, c, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz without a spec: %d", status)
	}
	n.set(&reconcile.Snapshot{Conditions: []reconcile.Condition{{Type: reconcile.Ready, Status: "True", Reason: "Converged"}}})
	if status, text := get200(t, c, "/readyz"); status != http.StatusOK || !strings.Contains(text, "Ready=True Converged") {
		t.Errorf("readyz: %d %s", status, text)
	}
}
