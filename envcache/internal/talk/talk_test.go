package talk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLines(t *testing.T) {
	var got []string
	l := NewLines(func(s string) string { return strings.ReplaceAll(s, "secret", "****") }, func(s string) { got = append(got, s) })
	for _, part := range []string{"one\ntw", "o\r", "50%\r100%, done.\n\n", "\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07end\n", "a secret", " at last"} {
		fmt.Fprint(l, part)
	}
	_ = l.Close()
	want := []string{"one", "two", "50%", "100%, done.", "red end", "a **** at last"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("got %q", got)
	}
	if tail := l.Tail(2); len(tail) != 2 || tail[0] != "red end" {
		t.Fatalf("tail %q", tail)
	}
}

func TestALineThatNeverEndsIsCut(t *testing.T) {
	n := 0
	l := NewLines(nil, func(s string) { n += len(s) })
	for range 10_000 {
		fmt.Fprint(l, "0123456789")
	}
	_ = l.Close()
	if n != 100_000 {
		t.Fatalf("%d bytes of 100000 came", n)
	}
}

func TestWatchEndsASilentProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLines(nil, nil)
		ctx, stop := Watch(t.Context(), time.Minute, l.Last)
		defer stop()
		for range 10 {
			time.Sleep(50 * time.Second)
			fmt.Fprintln(l, "alive")
		}
		if ctx.Err() != nil {
			t.Fatal("ended a program that speaks")
		}
		time.Sleep(61 * time.Second)
		var s Silence
		if !errors.As(context.Cause(ctx), &s) || s.For != time.Minute {
			t.Fatalf("cause = %v", context.Cause(ctx))
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[1mb")
	f.Add("\x1b]8;;x\x1b\\y")
	f.Fuzz(func(t *testing.T, s string) {
		if got := Clean(s); strings.ContainsAny(got, "\x1b\x07\x00\r\n\x7f") {
			t.Fatalf("Clean(%q) = %q", s, got)
		}
	})
}
