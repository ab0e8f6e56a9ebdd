package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/test/bench/chart"

	"golang.org/x/sync/errgroup"
)

// bench is the measurements over one server.
type bench struct {
	client *clearml.Client
	proc   *process
	dir    string
	n      int
	done   []result // of the present store
}

// result is a measurement by its name.
type result struct {
	name string
	times
}

// all measures everything once; store names what the server holds, and must be
// another each time.
func (b *bench) all(ctx context.Context, store string) error {
	if err := b.requests(ctx, store); err != nil {
		return err
	}
	return b.idle(ctx)
}

// requests is all without what an idle server costs.
func (b *bench) requests(ctx context.Context, store string) error {
	b.done = nil
	fmt.Printf("\n%s\n", store)
	fmt.Printf("%-44s %10s %9s %9s %9s\n", "", "per second", "p50 ms", "p99 ms", "CPU s")
	for _, clients := range []int{1, 32} {
		if err := b.queue(ctx, clients, store); err != nil {
			return err
		}
		if err := b.lines(ctx, clients); err != nil {
			return err
		}
	}
	if err := b.dispatch(ctx, store); err != nil {
		return err
	}
	if err := b.console(ctx); err != nil {
		return err
	}
	fmt.Printf("%-44s %10.1f MB\n", "resident memory of the server", b.proc.memory())
	return nil
}

// Idle agents: each with a connection of its own, as each is a machine.
const (
	idleAgents = 1000
	idleTime   = 10 * time.Second
)

// idle measures what agents cost that wait for a queue in which nothing happens.
func (b *bench) idle(ctx context.Context) error {
	queue, err := b.client.ResolveQueue(ctx, "bench of idling", true)
	if err != nil {
		return err
	}
	_, revision, err := b.client.Queues(ctx, []string{queue}, 0, 0)
	if err != nil {
		return err
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	var agents errgroup.Group
	before := b.proc.memory()
	for range idleAgents {
		c, err := connect(b.dir)
		if err != nil {
			return err
		}
		agents.Go(func() error {
			defer c.Close()
			if _, _, err := c.Queues(waiting, []string{queue}, revision, time.Minute); err != nil && waiting.Err() == nil {
				return err
			}
			return nil
		})
	}
	if err := pause(ctx, 5*time.Second); err != nil { // until all have logged in
		return err
	}
	cpu := b.proc.cpu()
	if err := pause(ctx, idleTime); err != nil {
		return err
	}
	fmt.Printf("%-44s %10.2f %% of a core, %.1f MB more\n", fmt.Sprintf("%d agents that wait", idleAgents),
		100*(b.proc.cpu()-cpu)/idleTime.Seconds(), b.proc.memory()-before)
	stop()
	return agents.Wait()
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// times is how long each of the calls took, and all together.
type times struct {
	each []time.Duration
	all  time.Duration
	cpu  float64
}

func (b *bench) print(what string, t times) {
	b.done = append(b.done, result{what, t})
	fmt.Printf("%-44s %10.0f %9.2f %9.2f %9.2f\n", what, float64(len(t.each))/t.all.Seconds(), ms(t.each, 0.5), ms(t.each, 0.99), t.cpu)
}

func ms(times []time.Duration, q float64) float64 {
	return float64(chart.Quantile(times, q)) / float64(time.Millisecond)
}

// repeat runs call for 0 … n-1 from a number of clients at once.
func (b *bench) repeat(ctx context.Context, clients, n int, call func(ctx context.Context, i int) error) (times, error) {
	t := times{each: make([]time.Duration, n)}
	began, cpu := time.Now(), b.proc.cpu()
	group, ctx := errgroup.WithContext(ctx)
	for c := range clients {
		group.Go(func() error {
			for i := c; i < n; i += clients {
				start := time.Now()
				if err := call(ctx, i); err != nil {
					return err
				}
				t.each[i] = time.Since(start)
			}
			return nil
		})
	}
	err := group.Wait()
	t.all, t.cpu = time.Since(began), b.proc.cpu()-cpu
	return t, err
}

// queue measures create, enqueue, and pop with and without something there.
func (b *bench) queue(ctx context.Context, clients int, store string) error {
	queue, err := b.client.ResolveQueue(ctx, fmt.Sprintf("bench of %d, %s", clients, store), true)
	if err != nil {
		return err
	}
	ids := make([]string, b.n)
	for _, step := range []struct {
		name string
		call func(ctx context.Context, i int) error
	}{
		{"tasks.create", func(ctx context.Context, i int) (err error) {
			ids[i], err = b.client.CreateTask(ctx, clearml.NewTask{Name: "bench", Type: "training"})
			return err
		}},
		{"tasks.enqueue", func(ctx context.Context, i int) error { return b.client.Enqueue(ctx, ids[i], queue, "", false) }},
		{"queues.get_next_task", func(ctx context.Context, _ int) error { _, err := b.client.PopTask(ctx, queue); return err }},
		{"queues.get_next_task, empty", func(ctx context.Context, _ int) error { _, err := b.client.PopTask(ctx, queue); return err }},
		{"tasks.started", func(ctx context.Context, i int) error { return b.client.Started(ctx, ids[i], "", "", false) }},
		{"tasks.get_by_id", func(ctx context.Context, i int) error { _, err := b.client.Task(ctx, ids[i]); return err }},
	} {
		t, err := b.repeat(ctx, clients, b.n, step.call)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		b.print(fmt.Sprintf("%s, %d clients", step.name, clients), t)
	}
	return nil
}

// lines measures batches of 100 console lines, an event each, to a task for each
// client, and the newest page of a console.
func (b *bench) lines(ctx context.Context, clients int) error {
	ids := make([]string, clients)
	for i := range ids {
		var err error
		if ids[i], err = b.client.CreateTask(ctx, clearml.NewTask{Name: "bench", Type: "training"}); err != nil {
			return err
		}
	}
	t, err := b.repeat(ctx, clients, max(b.n/4, clients), func(ctx context.Context, i int) error {
		return b.client.AddEvents(ctx, hundred(ids[i%clients], int64(i)*100, 100))
	})
	if err != nil {
		return err
	}
	b.print(fmt.Sprintf("events.add_batch of 100 lines, %d clients", clients), t)
	t, err = b.repeat(ctx, clients, max(b.n/4, clients), func(ctx context.Context, i int) error {
		return b.client.Call(ctx, "events.get_task_log", map[string]any{"task": ids[i%clients], "batch_size": 100}, nil)
	})
	if err == nil {
		b.print(fmt.Sprintf("events.get_task_log, newest 100, %d clients", clients), t)
	}
	return err
}

// hundred is n console lines of about 100 bytes.
func hundred(task string, from int64, n int) []clearml.LogEvent {
	events := make([]clearml.LogEvent, n)
	for i := range events {
		at := from + int64(i) + 1
		events[i] = clearml.LogEvent{
			Task: task, Worker: "bench", Level: "DEBUG", Timestamp: at,
			Msg: fmt.Sprintf("epoch %d, step %d: loss %.6f, accuracy %.6f, learning rate 0.0003, 512 samples/s", at/1000, at%1000, 1/float64(at), 1-1/float64(at)),
		}
	}
	return events
}

// dispatch measures the way of a task: an agent waits for the queue by a long
// poll and pops the head by name; the time is from just before the enqueue to
// the answer of the pop.
func (b *bench) dispatch(ctx context.Context, store string) error {
	queue, err := b.client.ResolveQueue(ctx, "bench of dispatch, "+store, true)
	if err != nil {
		return err
	}
	_, revision, err := b.client.Queues(ctx, []string{queue}, 0, 0)
	if err != nil {
		return err
	}
	ids := make([]string, min(b.n, 500))
	t, err := b.repeat(ctx, 1, len(ids), func(ctx context.Context, i int) (err error) {
		if ids[i], err = b.client.CreateTask(ctx, clearml.NewTask{Name: "bench", Type: "training"}); err != nil {
			return err
		}
		revision, err = b.deliver(ctx, queue, ids[i], revision)
		return err
	})
	if err != nil {
		return err
	}
	b.print("create, enqueue → popped by a waiting agent", t)
	// Else they would go back to their queue in the midst of another measurement.
	_, err = b.repeat(ctx, 8, len(ids), func(ctx context.Context, i int) error { return b.client.Started(ctx, ids[i], "", "", false) })
	return err
}

func (b *bench) deliver(ctx context.Context, queue, id string, revision int64) (int64, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		for {
			queues, next, err := b.client.Queues(ctx, []string{queue}, revision, 10*time.Second)
			if err != nil {
				return err
			}
			revision = next
			if tasks := queues[0].Tasks(); len(tasks) > 0 {
				_, err := b.client.NextTask(ctx, queue, tasks[0])
				return err
			}
		}
	})
	group.Go(func() error { return b.client.Enqueue(ctx, id, queue, "", false) })
	return revision, group.Wait()
}

// console measures 100-byte lines in events of 64 KiB.
func (b *bench) console(ctx context.Context) error {
	id, err := b.client.CreateTask(ctx, clearml.NewTask{Name: "bench", Type: "training"})
	if err != nil {
		return err
	}
	const perEvent, perBatch, batches = 655, 8, 40
	text := strings.Repeat(strings.Repeat("x", 99)+"\n", perEvent)
	var at int64
	t, err := b.repeat(ctx, 1, batches, func(ctx context.Context, _ int) error {
		events := make([]clearml.LogEvent, perBatch)
		for i := range events {
			at++
			events[i] = clearml.LogEvent{Task: id, Worker: "bench", Level: "DEBUG", Msg: text, Timestamp: at}
		}
		return b.client.AddEvents(ctx, events)
	})
	if err != nil {
		return err
	}
	b.print("events.add_batch, 512 KiB", t)
	fmt.Printf("%-44s %10.0f\n", "  console lines of 100 bytes", perEvent*perBatch*batches/t.all.Seconds())
	return nil
}

// cpu is the processor time of the server so far, in seconds.
func (p *process) cpu() float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// proc(5): utime and stime are fields 14 and 15, in ticks of 10 ms; the name
	// in parentheses may hold spaces.
	cols := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, _ := strconv.ParseFloat(cols[11], 64)
	system, _ := strconv.ParseFloat(cols[12], 64)
	return (user + system) / 100
}

// memory is the resident memory of the server in MB.
func (p *process) memory() float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(kb)[0], 64)
			return n / 1024
		}
	}
	return 0
}
