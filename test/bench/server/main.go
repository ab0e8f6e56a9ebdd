// Command server measures the embedded server: durable enqueues per second, the
// pop of a queue, the way from an enqueue to an agent that waits for it, and
// console lines. It starts the server as a process of its own, so that its memory
// and CPU can be told apart.
//
//	go run ./test/bench/server [-n N] [-dir FOLDER] [-tasks N -lines N -plot FILE]
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"agentctl/clearml"
	"agentctl/server"
)

func main() {
	n := flag.Int("n", 2000, "tasks of each measurement")
	tasks := flag.Int("tasks", 0, "measure also with a quarter, a half and all of so many tasks in the store")
	lines := flag.Int("lines", 0, "and with so many console lines")
	plot := flag.String("plot", "", "write a plot of the growth to this SVG file")
	dir := flag.String("dir", "", "folder of the server, on the disk to be measured; a temporary one when empty")
	serve := flag.String("serve", "", "play the server in this folder (used by this program itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *dir, *serve, func(b *bench) error {
		b.n = *n
		return b.growth(ctx, *tasks, *lines, *plot)
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, serve string, measure func(*bench) error) error {
	if serve != "" {
		return play(ctx, serve)
	}
	if dir == "" {
		tmp, err := os.MkdirTemp("", "agentctl-bench-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(tmp) }()
		dir = tmp
	}
	p, err := start(ctx, dir)
	if err != nil {
		return err
	}
	defer p.stop()
	client, err := connect(dir)
	if err != nil {
		return err
	}
	defer client.Close()
	return measure(&bench{client: client, proc: p, dir: dir})
}

// play is the process of the server.
func play(ctx context.Context, dir string) error {
	s, err := server.Open(ctx, server.Config{Dir: dir, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return s.Serve(ctx)
}

type process struct{ cmd *exec.Cmd }

func start(ctx context.Context, dir string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-serve", dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		p.stop()
		return nil, fmt.Errorf("the server did not start: %w", err)
	}
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

func connect(dir string) (*clearml.Client, error) {
	e, _, err := server.ReadEndpoint(dir)
	if err != nil {
		return nil, err
	}
	keys, err := server.ReadCredentials(dir)
	if err != nil {
		return nil, err
	}
	return clearml.New(clearml.Config{URL: e.API, Credentials: func(context.Context) (clearml.Credentials, error) {
		return clearml.Credentials{AccessKey: keys.AccessKey, SecretKey: keys.SecretKey}, nil
	}})
}
