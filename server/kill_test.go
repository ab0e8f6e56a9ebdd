package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"agentctl/clearml"
)

// serveUntilKilled is the test binary playing the server.
func serveUntilKilled(dir string) {
	s, err := Open(context.Background(), Config{Dir: dir, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err == nil {
		fmt.Println("ready")
		err = s.Serve(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// child is a server in a process of its own.
type child struct {
	cmd *exec.Cmd
	dir string
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "AGENTCTL_TEST_SERVE="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("server did not start: %q, %v", line, err)
	}
	return &child{cmd, dir}
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = c.cmd.Wait() // "signal: killed"
}

// client is a client of whatever server serves dir now.
func client(t *testing.T, dir string) *clearml.Client {
	t.Helper()
	e, alive, err := ReadEndpoint(dir)
	if err != nil || !alive {
		t.Fatalf("endpoint: alive %v, %v", alive, err)
	}
	c, err := clearml.New(clearml.Config{
		URL: e.API, Attempts: 1,
		Credentials: func(context.Context) (clearml.Credentials, error) {
			keys, err := ReadCredentials(dir)
			return clearml.Credentials{AccessKey: keys.AccessKey, SecretKey: keys.SecretKey}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// promises is what a server has acknowledged.
type promises struct {
	mu     sync.Mutex
	queued []string            // created and enqueued
	popped []string            // popped and started
	lines  map[string][]string // task → console lines, in order
}

// Killed under load again and again, a server has lost nothing that it has
// acknowledged: every task that was enqueued is in its queue or was popped by
// exactly one client, and every console line is there once, in order.
func TestKillLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills five servers")
	}
	dir := t.TempDir()
	got := &promises{lines: map[string][]string{}}
	var queue string
	for round := range 5 {
		srv := startChild(t, dir)
		c := client(t, dir)
		if round == 0 {
			var err error
			if queue, err = c.ResolveQueue(t.Context(), "load", true); err != nil {
				t.Fatal(err)
			}
		}
		got.load(t, c, queue, srv)
		c.Close()
	}
	s := openServer(t, dir, Config{})
	s.clock.advance(2 * s.cfg.Lease) // pops whose answer was lost go back
	s.janitor.returnLeases(t.Context())
	got.check(s, queue)
}

// load runs clients until the server is killed in the midst of their work.
func (p *promises) load(t *testing.T, c *clearml.Client, queue string, srv *child) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var done atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		work := p.enqueue
		switch i % 4 {
		case 2:
			work = p.pop
		case 3:
			work = p.log
		}
		all.Go(func() {
			for ctx.Err() == nil && work(ctx, c, queue) == nil {
				done.Add(1)
			}
		})
	}
	eventually(t, "the server has done some work", func() bool { return done.Load() > 150 })
	srv.kill(t)
	stop()
	all.Wait()
}

func (p *promises) enqueue(ctx context.Context, c *clearml.Client, queue string) error {
	id, err := c.CreateTask(ctx, clearml.NewTask{Name: "load", Type: "training"})
	if err != nil {
		return err
	}
	if err := c.Enqueue(ctx, id, queue, "", false); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queued = append(p.queued, id)
	return nil
}

func (p *promises) pop(ctx context.Context, c *clearml.Client, queue string) error {
	id, err := c.PopTask(ctx, queue)
	if err != nil || id == "" {
		return err
	}
	if err := c.Started(ctx, id, "", "", false); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.popped = append(p.popped, id)
	return nil
}

func (p *promises) log(ctx context.Context, c *clearml.Client, _ string) error {
	id, err := c.CreateTask(ctx, clearml.NewTask{Name: "console", Type: "training"})
	if err != nil {
		return err
	}
	for batch := range 5 {
		var events []clearml.LogEvent
		for i := range 10 {
			events = append(events, clearml.LogEvent{Task: id, Worker: "w", Msg: fmt.Sprintf("line %d", batch*10+i), Timestamp: int64(batch*10 + i + 1)})
		}
		if err := c.AddEvents(ctx, events); err != nil {
			return err
		}
		p.mu.Lock()
		for _, e := range events {
			p.lines[id] = append(p.lines[id], e.Msg)
		}
		p.mu.Unlock()
	}
	return nil
}

func (p *promises) check(s *testServer, queue string) {
	s.t.Helper()
	t := s.t
	waiting := s.waiting(queue)
	slices.Sort(p.popped)
	if unique := slices.Compact(slices.Clone(p.popped)); len(unique) != len(p.popped) {
		t.Errorf("%d pops of %d tasks", len(p.popped), len(unique))
	}
	for _, id := range p.popped {
		if status := s.status(id); status != "in_progress" || slices.Contains(waiting, id) {
			t.Errorf("popped task %s is %s, in the queue %v", id, status, slices.Contains(waiting, id))
		}
	}
	for _, id := range p.queued {
		if status := s.status(id); status != "in_progress" && !slices.Contains(waiting, id) {
			t.Errorf("enqueued task %s is %s and in no queue", id, status)
		}
	}
	for id, want := range p.lines {
		var got []string
		for _, e := range s.call("events.get_task_log", m{"task": id, "navigate_earlier": false, "batch_size": 1000})["events"].([]any) {
			got = append(got, e.(map[string]any)["msg"].(string))
		}
		// A batch whose answer was lost may be there as well, whole.
		if len(got) < len(want) || !slices.Equal(got[:len(want)], want) || len(got) > len(want)+10 {
			t.Errorf("console of %s: %d lines, %d acknowledged", id, len(got), len(want))
		}
	}
	var ok string
	if _, err := s.store.read.one(`PRAGMA integrity_check`, nil, &ok); err != nil || ok != "ok" {
		t.Errorf("integrity: %s, %v", ok, err)
	}
	t.Logf("%d enqueued, %d popped, %d waiting, %d consoles", len(p.queued), len(p.popped), len(waiting), len(p.lines))
}

func TestOneServerPerFolder(t *testing.T) {
	dir := t.TempDir()
	srv := startChild(t, dir)
	_, err := Open(t.Context(), Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d already serves", srv.cmd.Process.Pid)) {
		t.Errorf("a second server in the folder: %v", err)
	}
	srv.kill(t)
	if e, alive, err := ReadEndpoint(dir); err != nil || alive || e.PID != srv.cmd.Process.Pid {
		t.Errorf("after its end: %+v, alive %v, %v", e, alive, err)
	}
	if _, _, err := ReadEndpoint(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder without a server: %v", err)
	}
}

func TestBusyPortNamesItsOwner(t *testing.T) {
	srv := startChild(t, t.TempDir())
	defer srv.kill(t)
	e, _, err := ReadEndpoint(srv.dir)
	if err != nil {
		t.Fatal(err)
	}
	var port int
	if _, err := fmt.Sscanf(e.API, "http://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Config{Dir: t.TempDir(), APIPort: port})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by server.test (pid %d)", srv.cmd.Process.Pid)) {
		t.Errorf("got %v", err)
	}
}
