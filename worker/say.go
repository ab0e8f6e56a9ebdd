package worker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/runtime"
)

// say writes a line of the agent's own to the task's console.
func (r *run) say(format string, args ...any) {
	line := time.Now().Format("15:04:05.000") + " agentctl: " + fmt.Sprintf(format, args...) + "\n"
	if err := runtime.AppendConsole(r.dirs.root, runtime.StreamAgent, []byte(line)); err != nil {
		r.log.Warn("line not written to the console", "error", err)
	}
}

func (r *run) sender() *sender {
	return &sender{
		dir: r.dirs.root, task: r.rec.Task, worker: r.rec.WorkerID(), log: r.log,
		server: insisting{r}, retry: pause, hide: r.secrets(),
	}
}

// secrets are what a task was given and must not say on its console: its token.
// They are read from the order to the shim, which an earlier agent may have given.
func (r *run) secrets() []string {
	cfg, err := runtime.ReadConfig(r.dirs.root)
	if err != nil {
		r.log.Error("task's token not known, its console is sent as it is", "error", err)
	}
	for _, v := range cfg.Env {
		if token, ok := strings.CutPrefix(v, tokenVar+"="); ok && token != "" {
			return []string{token}
		}
	}
	return nil
}

// insisting gives a sender the connection as it is now: the way to the server
// may be made anew while a task runs.
type insisting struct{ r *run }

func (i insisting) AddEvents(ctx context.Context, events []clearml.LogEvent) error {
	conn, err := i.r.pool.conn.get(ctx, i.r.rec.Server)
	if err != nil {
		return err
	}
	err = conn.Client.AddEvents(ctx, events)
	if err != nil && !clearml.IsRefused(err) {
		i.r.pool.conn.lost(i.r.rec.Server, err)
	}
	return err
}

func (i insisting) LastLogEvents(ctx context.Context, task string, n int) ([]clearml.LogEvent, error) {
	conn, err := i.r.pool.conn.get(ctx, i.r.rec.Server)
	if err != nil {
		return nil, err
	}
	return conn.Client.LastLogEvents(ctx, task, n)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
