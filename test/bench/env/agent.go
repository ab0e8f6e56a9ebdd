package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"agentctl/clearml"
	"agentctl/server"
)

// agentPeer is the real clearml-agent, which builds the environment of a task of
// the embedded server: its own steps, from its own program.
type agentPeer struct {
	place  *place
	home   string
	server *server.Server
	served chan error
	stop   context.CancelFunc
	client *clearml.Client
	env    []string
	tasks  map[string]string
}

func newAgentPeer(ctx context.Context, p *place) (*agentPeer, error) {
	dir := filepath.Join(p.dir, "server")
	s, err := server.Open(ctx, server.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	serve, stop := context.WithCancel(ctx)
	a := &agentPeer{place: p, home: filepath.Join(p.dir, "peer-home"), server: s, served: make(chan error, 1), stop: stop, tasks: map[string]string{}}
	go func() { a.served <- s.Serve(serve) }()
	keys, err := server.ReadCredentials(dir)
	if err != nil {
		return nil, err
	}
	e, _, err := server.ReadEndpoint(dir)
	if err != nil {
		return nil, err
	}
	a.env = []string{
		"HOME=" + a.home, "CLEARML_API_HOST=" + e.API, "CLEARML_WEB_HOST=" + e.Web, "CLEARML_FILES_HOST=" + e.Files,
		"CLEARML_API_ACCESS_KEY=" + keys.AccessKey, "CLEARML_API_SECRET_KEY=" + keys.SecretKey,
		"PATH=" + p.program("") + ":" + os.Getenv("PATH"),
	}
	a.client, err = clearml.New(clearml.Config{URL: e.API, Credentials: func(context.Context) (clearml.Credentials, error) {
		return clearml.Credentials{AccessKey: keys.AccessKey, SecretKey: keys.SecretKey}, nil
	}})
	return a, err
}

func (a *agentPeer) close() {
	a.client.Close()
	a.stop()
	if err := <-a.served; err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench: the embedded server:", err)
	}
}

func (a *agentPeer) name() string { return "clearml-agent" }

// prepare makes the task.
func (a *agentPeer) prepare(ctx context.Context, s set) error {
	if a.tasks[s.name] != "" {
		return nil
	}
	id, err := a.client.CreateTask(ctx, clearml.NewTask{
		Name: s.name, Type: "training",
		Script: clearml.Script{EntryPoint: "job.py", WorkingDir: ".", Binary: "python3", Diff: "print(1)\n", Requirements: clearml.Requirements{Pip: s.packages}},
	})
	a.tasks[s.name] = id
	return err
}

func (a *agentPeer) clear(fresh bool) error {
	gone := filepath.Join(a.home, ".clearml", "venvs-cache")
	if fresh {
		gone = a.home
	}
	return errors.Join(os.RemoveAll(gone), os.MkdirAll(a.home, 0o755))
}

func (a *agentPeer) build(ctx context.Context, s set) error { return a.run(ctx, s) }

// hit is a task whose environment is in clearml-agent's cache, which copies it.
func (a *agentPeer) hit(ctx context.Context, s set) (string, error) { return "hit", a.run(ctx, s) }

func (a *agentPeer) run(ctx context.Context, s set) error {
	target := filepath.Join(a.place.dir, "peer-target")
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if err := command(ctx, a.env, a.place.program("clearml-agent"), "build", "--id", a.tasks[s.name], "--target", target, "--cpu-only"); err != nil {
		return fmt.Errorf("clearml-agent: %w", err)
	}
	return nil
}
