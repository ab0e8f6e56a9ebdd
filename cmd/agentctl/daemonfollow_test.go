package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/source"
	"agentctl/spec"
)

// contributing is an agent that takes workers; onContribute is called before it answers.
type contributing struct {
	onContribute func()
	there        atomic.Pointer[control.ContributeRequest]
	withdrawn    atomic.Value
}

func (f *contributing) snapshot() *reconcile.Snapshot {
	s := &reconcile.Snapshot{Name: "here", Generation: 1, ObservedGeneration: 1, Node: &spec.Node{APIVersion: spec.APIVersion, Kind: spec.KindNode}}
	if r := f.there.Load(); r != nil {
		s.Node.Spec.Workers = r.Workers
	}
	return s
}

// serve answers on a socket, whose path it returns.
func (f *contributing) serve(t *testing.T) string {
	dir, err := os.MkdirTemp("", "actl") // a socket's path may have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	reply := func(pattern string, answer func(*json.Decoder) any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := json.NewEncoder(w).Encode(answer(json.NewDecoder(r.Body))); err != nil {
				t.Error(err)
			}
		})
	}
	reply("GET /v1/agent", func(*json.Decoder) any {
		return control.Agent{Source: control.Source{Kind: source.KindFile, Path: "/node.yaml"}}
	})
	reply("GET /v1/watch", func(*json.Decoder) any { return f.snapshot() })
	reply("POST /v1/contribute", func(d *json.Decoder) any {
		var r control.ContributeRequest
		if err := d.Decode(&r); err != nil {
			t.Error(err)
		}
		f.there.Store(&r)
		f.onContribute()
		return control.ContributeReply{Contribution: control.Contribution{ID: r.ID + ":0", Workers: r.Workers}, Generation: 1}
	})
	reply("POST /v1/withdraw", func(d *json.Decoder) any {
		var r control.WithdrawRequest
		if err := d.Decode(&r); err != nil {
			t.Error(err)
		}
		f.withdrawn.Store(r.ID)
		f.there.Store(nil)
		return control.WithdrawReply{Groups: []string{"daemon"}, Generation: 1}
	})
	srv := &http.Server{Handler: mux}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-served })
	return path
}

// daemon runs a command line against it.
func (f *contributing) daemon(ctx context.Context, t *testing.T, args ...string) (code int, talk string) {
	var out bytes.Buffer
	env := map[string]string{"HOME": t.TempDir(), "AGENTCTL_STATE": t.TempDir(), "AGENTCTL_SOCKET": f.serve(t), "AGENTCTL_NODE_NAME": "here"}
	m := &Main{Stdout: &out, Stderr: &out, Getenv: func(name string) string { return env[name] }}
	code = m.Run(ctx, append([]string{"daemon", "--queue", "q"}, args...))
	return code, out.String()
}

// A signal that comes while the worker is added takes it away again: nobody would stay
// with it.
func TestDaemonSignalledWhileItAsks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := &contributing{onContribute: cancel}
	if code, talk := f.daemon(ctx, t, "--foreground"); code != exitOK || f.withdrawn.Load() != "here:0" {
		t.Errorf("exit code %d, withdrawn %v: %s", code, f.withdrawn.Load(), talk)
	}
}

// One that was taken away by somebody else is not waited for.
func TestDaemonTakenAwayBeforeItIsReady(t *testing.T) {
	f := &contributing{}
	f.onContribute = func() { f.there.Store(nil) }
	if code, talk := f.daemon(t.Context(), t); code != exitFailed || !strings.Contains(talk, "the worker here:0 was taken away") {
		t.Errorf("exit code %d: %s", code, talk)
	}
}
