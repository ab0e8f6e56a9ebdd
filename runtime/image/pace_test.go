package image

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentctl/test/imagekit"
)

// work is a reader that works for a while each time, without an end.
type work time.Duration

func (w work) Read(b []byte) (int, error) {
	time.Sleep(time.Duration(w))
	return len(b), nil
}

// What nobody waits for works a fifth of the time, until somebody does.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var awaited atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		p := &paced{work(6 * time.Millisecond), ctx, &awaited, time.Now()}
		read := func() time.Duration {
			start := time.Now()
			if _, err := io.ReadFull(p, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		if took := read(); took != 6*time.Millisecond {
			t.Errorf("it began after %s", took)
		}
		if took := read(); took != (6+4*6)*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		awaited.Add(1)
		if took := read(); took != 6*time.Millisecond {
			t.Errorf("awaited it took %s", took)
		}
		awaited.Add(-1)
		cancel()
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("it goes on: %v", err)
		}
	})
}

func TestGentlePull(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	s := openStore(t, t.TempDir(), nil, r)
	ref := r.Push(t, "kit/tiny:1", imagekit.Tiny(t))
	gentle := acquire(t, s, Request{Ref: ref, Gently: true})
	if again := acquire(t, s, Request{Ref: ref}); !gentle.Pulled || again.Pulled || again.Digest != gentle.Digest {
		t.Errorf("%+v, then %+v", gentle, again)
	}
	if n := s.awaited.Load(); n != 0 {
		t.Errorf("%d are awaited", n)
	}
}
