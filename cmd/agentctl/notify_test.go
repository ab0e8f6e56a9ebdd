package main

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"agentctl/reconcile"
)

// loopAt is a loop that turned last at a time.
type loopAt time.Time

func (l loopAt) Snapshot() *reconcile.Snapshot { return &reconcile.Snapshot{Time: time.Time(l)} }

// notified runs notifySystemd and gives what systemd hears, word by word.
func notified(t *testing.T, loop snapshots) (words <-chan string, end func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(20_000))
	heard := make(chan string, 1000)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(heard)
		buf := make([]byte, 1000)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:n])
			if string(buf[:n]) == "STOPPING=1" {
				return
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- notifySystemd(ctx, loop) }()
	return heard, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = l.SetReadDeadline(time.Now().Add(patience))
		<-read
		_ = l.Close()
	}
}

func TestSystemdIsToldOfALoopThatTurns(t *testing.T) {
	words, end := notified(t, loopAt(time.Now()))
	for _, want := range []string{"READY=1", "WATCHDOG=1"} {
		select {
		case got := <-words:
			if got != want {
				t.Errorf("heard %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s did not come", want)
		}
	}
	end()
	last := ""
	for w := range words {
		last = w
	}
	if last != "STOPPING=1" {
		t.Errorf("the last word is %q", last)
	}
}

// An agent that hangs must not keep its watchdog quiet.
func TestSystemdIsNotToldOfALoopThatHangs(t *testing.T) {
	words, end := notified(t, loopAt(time.Now().Add(-2*stale)))
	if got := <-words; got != "READY=1" {
		t.Errorf("heard %q", got)
	}
	// Some periods of the watchdog: a word that should not come needs time to come.
	select {
	case got := <-words:
		t.Errorf("heard %q", got)
	case <-time.After(100 * time.Millisecond):
	}
	end()
}
