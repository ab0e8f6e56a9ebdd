package runtime

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"
)

// A child that goes on when the agent ends is killed, in the end.
func TestDelegateEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		after  time.Duration
		killed bool
	}{
		{"at once", 0, false},
		{"within its time", delegatePatience - time.Second, false},
		{"never", delegatePatience + time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("/bin/cat")
			in, err := cmd.StdinPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				r, w := io.Pipe()
				ctx, cancel := context.WithCancel(t.Context())
				stop := endDelegate(ctx, w, cmd.Process)
				cancel()
				if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("what the child reads: %v", err)
				}
				time.Sleep(tt.after)
				stop()
			})
			_ = in.Close()
			if err := cmd.Wait(); (err != nil) != tt.killed {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
