package worker

import (
	"context"
	"fmt"
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
