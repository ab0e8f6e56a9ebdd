package packet

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type text struct{ Text string }

// pair is two ends in this process.
func pair(t *testing.T) (*Conn, *Conn) {
	t.Helper()
	a, there, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	// The file's own descriptor goes with the file, whenever that is collected.
	fd, err := unix.Dup(int(there.Fd()))
	if err = errors.Join(err, there.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

func TestMessagesAndFiles(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 50_000)
	if err := errors.Join(a.Send(text{"one"}, w, w), a.Send(text{long})); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	var got text
	files, err := b.Receive(context.Background(), &got)
	if err != nil || got.Text != "one" || len(files) != 2 {
		t.Fatalf("%+v, %d files, %v", got, len(files), err)
	}
	_, err = files[1].WriteString("through")
	CloseAll(files)
	data, rerr := io.ReadAll(r)
	if err := errors.Join(err, rerr); err != nil || string(data) != "through" {
		t.Errorf("%q, %v", data, err)
	}
	if files, err := b.Receive(context.Background(), &got); err != nil || got.Text != long || len(files) != 0 {
		t.Errorf("%d bytes, %d files, %v", len(got.Text), len(files), err)
	}
	if err := a.Send(text{strings.Repeat("x", maxSize)}); err == nil {
		t.Error("a message that is too long was sent")
	}
}

func TestTheEnd(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var got text
	if _, err := b.Receive(ctx, &got); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
	_ = a.Close()
	if err := b.Send(text{"x"}); err == nil {
		t.Error("sent to nobody")
	}
	c, d := pair(t)
	_ = c.Close()
	if _, err := d.Receive(context.Background(), &got); !errors.Is(err, io.EOF) {
		t.Errorf("from nobody: %v", err)
	}
}

func TestListener(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 50))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(context.Background(), dir, "s"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Dial without a socket: %v", err)
	}
	l, err := Listen(dir, "s")
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "s"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	accepted := make(chan *Conn, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	c, err := Dial(context.Background(), dir, "s")
	if err != nil {
		t.Fatal(err)
	}
	peer := <-accepted
	if uid, err := peer.Peer(); err != nil || uid != os.Geteuid() {
		t.Errorf("%d, %v", uid, err)
	}
	_, _, _ = c.Close(), peer.Close(), l.Close()
	if _, open := <-accepted; open {
		t.Error("a closed listener accepts")
	}
}

// A process that hangs, and accepts nobody, holds nobody who wants to connect.
func TestDialWhereNobodyAccepts(t *testing.T) {
	dir := t.TempDir()
	l, err := Listen(dir, "s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeoutCause(context.Background(), 20*time.Millisecond, errors.New("nobody accepts"))
	defer cancel()
	for range 1000 { // as many as may wait, which the kernel decides
		c, err := Dial(ctx, dir, "s")
		if err != nil {
			if !errors.Is(err, context.Cause(ctx)) {
				t.Errorf("Dial: %v", err)
			}
			return
		}
		defer c.Close()
	}
	t.Error("a thousand wait")
}
