package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"agentctl/clearml"
	"agentctl/runtime"

	"pgregory.net/rapid"
)

var discard = slog.New(slog.DiscardHandler)

// badServer stores events and fails at will: before it stored a batch, after it
// stored the whole of it, or after a part.
type badServer struct {
	mu     sync.Mutex
	rng    *rand.Rand
	events []clearml.LogEvent
	faulty bool
}

const sdkSays = "a line of the SDK"

var errBad = errors.New("connection reset")

func (b *badServer) AddEvents(_ context.Context, events []clearml.LogEvent) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.faulty {
		b.events = append(b.events, events...)
		return nil
	}
	// The SDK in the task reports under the same worker's name, at the same time.
	b.events = append(b.events, clearml.LogEvent{Worker: "w", Msg: sdkSays, Timestamp: events[0].Timestamp + int64(b.rng.IntN(100))})
	switch b.rng.IntN(5) {
	case 0:
		return errBad
	case 1:
		b.events = append(b.events, events...)
		return errBad
	case 2:
		b.events = append(b.events, events[:b.rng.IntN(len(events)+1)]...)
		return errBad
	}
	b.events = append(b.events, events...)
	return nil
}

func (b *badServer) LastLogEvents(_ context.Context, _ string, n int) ([]clearml.LogEvent, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.faulty && b.rng.IntN(3) == 0 {
		return nil, errBad
	}
	newest := slices.Clone(b.events)
	slices.Reverse(newest)
	return newest[:min(n, len(newest))], nil
}

func (b *badServer) text() string {
	var lines []string
	for _, e := range b.events {
		if e.Msg != sdkSays {
			lines = append(lines, e.Msg)
		}
	}
	return strings.Join(lines, "\n")
}

// newSender returns a sender for dir that dies at a call of the server when its
// context ends, as an agent that is killed.
func newSender(dir string, server eventLog) *sender {
	return &sender{
		dir: dir, task: "t", worker: "w", server: server, log: discard, last: true,
		retry: func(ctx context.Context, _ int) error { return context.Cause(ctx) },
	}
}

// dying wraps a server and ends the sender's context after some calls.
type dying struct {
	*badServer
	calls int
	die   context.CancelFunc
}

func (d *dying) AddEvents(ctx context.Context, events []clearml.LogEvent) error {
	d.calls--
	if d.calls == 0 {
		d.die()
		_ = d.badServer.AddEvents(ctx, events)
		return context.Canceled
	}
	return d.badServer.AddEvents(ctx, events)
}

func TestEveryLineOnceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir := tempDir(t)
		var want []string
		seed := rapid.Uint64().Draw(t, "seed")
		rng := rand.New(rand.NewPCG(seed, 1))
		n := rapid.IntRange(0, 400).Draw(t, "lines")
		var pending strings.Builder
		for i := range n {
			line := fmt.Sprintf("line %d %s", i, strings.Repeat("x", rng.IntN(rapid.SampledFrom([]int{3, 3000}).Draw(t, "width"))))
			want = append(want, line)
			pending.WriteString(line + "\n")
			if rng.IntN(3) == 0 || i == n-1 {
				text := pending.String()
				cut := len(text)
				if i < n-1 { // frames end anywhere
					cut = rng.IntN(len(text) + 1)
				}
				pending.Reset()
				pending.WriteString(text[cut:])
				if cut > 0 {
					must(t, runtime.AppendConsole(dir, runtime.StreamStdout, []byte(text[:cut])))
				}
			}
		}
		server := &badServer{rng: rng, faulty: true}
		for alive := 0; ; alive++ {
			ctx, die := context.WithCancel(context.Background())
			err := newSender(dir, &dying{server, rng.IntN(6) + 1, die}).deliver(ctx)
			die()
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			server.faulty = alive < 50
		}
		got := server.text()
		if d := strings.Join(want, "\n"); got != d {
			t.Fatalf("console differs: %d bytes on the server, %d were written", len(got), len(d))
		}
		last := int64(0)
		for _, e := range server.events {
			if e.Msg == sdkSays {
				continue
			}
			if e.Timestamp <= last {
				t.Fatalf("timestamp %d after %d", e.Timestamp, last)
			}
			if len(e.Msg) > maxEvent {
				t.Fatalf("event of %d bytes", len(e.Msg))
			}
			last = e.Timestamp
		}
	})
}

func TestCollapse(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\n":                "a\nb\n",
		"a\r\nb\r\n":            "a\nb\n",
		"  0%\r 50%\r100%\n":    "100%\n",
		"  0%\r 50%\r":          " 50%",
		"x\r\r\n":               "x\n",
		"\r\n\n":                "\n\n",
		"1\r2\nplain\n3\r4\n\r": "2\nplain\n4\n",
	} {
		if got := string(collapse([]byte(in))); got != want {
			t.Errorf("collapse(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSecretsDoNotLeave(t *testing.T) {
	dir := t.TempDir()
	must(t, runtime.AppendConsole(dir, runtime.StreamStdout, []byte("token is tok-123!\n\xff\xfe\n")))
	server := &badServer{}
	s := newSender(dir, server)
	s.hide = []string{"tok-123"}
	must(t, s.deliver(context.Background()))
	if got := server.text(); got != "token is ********!\n\uFFFD" {
		t.Errorf("server got %q", got)
	}
}

type fataler interface {
	Helper()
	Fatal(...any)
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// choosy is a server that refuses some events, and more than one MiB at once, for good.
type choosy struct {
	badServer
	times int
}

func (c *choosy) AddEvents(ctx context.Context, events []clearml.LogEvent) error {
	size := 0
	for _, e := range events {
		size += len(e.Msg)
		if strings.Contains(e.Msg, "bad") {
			c.times++
			return &clearml.Error{Action: "events.add_batch", Code: 400, Subcode: 131}
		}
	}
	if size > maxBatch/2 {
		return &clearml.Error{Action: "events.add_batch", Code: 413}
	}
	return c.badServer.AddEvents(ctx, events)
}

func (c *choosy) LastLogEvents(ctx context.Context, task string, n int) ([]clearml.LogEvent, error) {
	if c.times == 1 {
		return nil, &clearml.Error{Action: "events.get_task_log", Code: 403}
	}
	return c.badServer.LastLogEvents(ctx, task, n)
}

// What a server refuses for good does not keep a task from its end, and no other line
// from the server.
func TestRefusedEventsAreLeftOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	line := strings.Repeat("x", maxEvent/2)
	for _, text := range []string{"bad\n", strings.Repeat(line+"\n", 29), "good\n"} {
		must(t, runtime.AppendConsole(dir, runtime.StreamStdout, []byte(text)))
	}
	server := &choosy{}
	must(t, newSender(dir, server).deliver(t.Context()))
	// An event goes with its like, so a line beside the bad one may be lost.
	if got := server.text(); strings.Count(got, line) < 28 || !strings.HasSuffix(got, "good") || server.times < mostRefusals || server.times > mostRefusals+1 {
		t.Errorf("%d bytes on the server after %d refusals", len(got), server.times)
	}
}
