package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/internal/fsx"
	"agentctl/runtime/internal/frame"
	"agentctl/runtime/internal/record"
)

// next reads one frame, which must come.
func next(t testing.TB, r *ConsoleReader) Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f, err := r.Next(ctx)
	must(t, err)
	return f
}

func openConsole(t testing.TB, dir string, from int64) *ConsoleReader {
	t.Helper()
	r, err := OpenConsole(dir, from)
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	return r
}

func endRun(t testing.TB, dir string) {
	t.Helper()
	must(t, fsx.WriteJSON(filepath.Join(dir, record.ExitFile), Exit{Version: 1, Reason: Exited}, 0o600))
}

func TestConsoleOffsetsAreStable(t *testing.T) {
	dir := newDir(t)
	r := openConsole(t, dir, 0) // before the file is there
	for i := range 3 {
		must(t, AppendConsole(dir, StreamAgent, fmt.Appendf(nil, "line %d\n", i)))
	}
	var all []Frame
	for i := range 3 {
		f := next(t, r)
		if f.Stream != StreamAgent || string(f.Data) != fmt.Sprintf("line %d\n", i) || time.Since(f.Time).Abs() > time.Hour {
			t.Errorf("frame %d is %+v", i, f)
		}
		if i > 0 && f.Start != all[i-1].End {
			t.Errorf("frame %d begins at %d, the one before it ends at %d", i, f.Start, all[i-1].End)
		}
		all = append(all, f)
	}
	for _, want := range all[1:] {
		if f := next(t, openConsole(t, dir, want.Start)); string(f.Data) != string(want.Data) || f.End != want.End {
			t.Errorf("from %d: %+v, want %+v", want.Start, f, want)
		}
	}
	endRun(t, dir)
	if f, err := r.Next(context.Background()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %+v, %v", f, err)
	}
}

func TestConsoleFollows(t *testing.T) {
	for _, name := range []string{"inotify", "polling"} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t)
			r := openConsole(t, dir, 0)
			if name == "polling" {
				must(t, r.watch.close())
				r.watch.f = nil
			} else if r.watch.f == nil {
				t.Skip("the user has no inotify instance left")
			}
			var writer sync.WaitGroup
			writer.Go(func() {
				w, err := OpenConsoleWriter(dir, StreamStdout)
				must(t, err)
				for i := range 50 {
					_, err := fmt.Fprintf(w, "%d\n", i)
					must(t, err)
				}
				must(t, w.Close())
			})
			for i := range 50 {
				if f := next(t, r); string(f.Data) != fmt.Sprintf("%d\n", i) {
					t.Fatalf("%q is not line %d", f.Data, i)
				}
			}
			writer.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("silence: %v", err)
			}
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(10*time.Millisecond, cancel)
			if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			time.AfterFunc(10*time.Millisecond, r.Finish)
			if _, err := r.Next(context.Background()); !errors.Is(err, io.EOF) {
				t.Errorf("finished: %v", err)
			}
		})
	}
}

func TestConsoleFinishedBeforeItBegan(t *testing.T) {
	r := openConsole(t, newDir(t), 0)
	r.Finish()
	if _, err := r.Next(context.Background()); !errors.Is(err, io.EOF) {
		t.Errorf("Next: %v", err)
	}
}

// What a killed writer left is skipped, at the end and in the middle.
func TestConsoleTornFrames(t *testing.T) {
	at := time.Unix(1, 2)
	whole := func(s string) string { return string(frame.Append(nil, frame.Stdout, at, []byte(s))) }
	long := whole(strings.Repeat("x", 5000))
	for _, tt := range []struct{ name, file, want string }{
		{"nothing", "", ""},
		{"header only", whole("a") + long[:10], "a"},
		{"data cut at the end", whole("a") + long[:2000], "a"},
		{"cut, then more", whole("a") + long[:2000] + whole("b") + whole("c"), "abc"},
		{"header cut, then more", whole("a") + long[:20] + whole("b"), "ab"},
		{"one byte, then more", whole("a") + long[:1] + whole("b"), "ab"},
		{"two cut", long[:100] + long[:300] + whole("b"), "b"},
		{"rubbish", "rubbish" + whole("b") + "rubbish" + whole("c") + "rubbish", "bc"},
		{"a changed byte", strings.Replace(whole("a hello"), "hello", "jello", 1) + whole("b"), "b"},
		{"a hostile length", "\xF7aC\x01\xff\xff\x0f\x00" + strings.Repeat("\x01", 16) + whole("b"), "b"},
		{"an empty frame", whole("") + whole("b"), "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := newDir(t)
			must(t, os.WriteFile(filepath.Join(dir, record.ConsoleFile), []byte(tt.file), 0o600))
			endRun(t, dir)
			if got := readAll(t, dir)[StreamStdout]; got != tt.want {
				t.Errorf("read %q, want %q", got, tt.want)
			}
		})
	}
}

// While the run lives, a frame that is not finished is waited for, but not for
// ever once others stand behind it.
func TestConsoleTornWhileAlive(t *testing.T) {
	dir := newDir(t)
	f, err := os.OpenFile(filepath.Join(dir, record.ConsoleFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	must(t, err)
	defer f.Close()
	whole := frame.Append(nil, frame.Stdout, time.Now(), []byte(strings.Repeat("x", 9000)))
	r := openConsole(t, dir, 0)
	_, err = f.Write(whole[:4000])
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if got, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("half a frame: %+v, %v", got, err)
	}
	_, err = f.Write(whole[4000:])
	must(t, err)
	if got := next(t, r); len(got.Data) != 9000 || got.Start != 0 {
		t.Errorf("a frame in two parts: %d bytes from %d", len(got.Data), got.Start)
	}
	_, err = f.Write(whole[:4000])
	must(t, err)
	must(t, AppendConsole(dir, StreamAgent, []byte("after")))
	if got := next(t, r); string(got.Data) != "after" {
		t.Errorf("behind a torn frame: %+v", got)
	}
}

func TestConsoleWriterRefusesUnknownStreams(t *testing.T) {
	if err := AppendConsole(newDir(t), "stdwhat", nil); err == nil {
		t.Error("accepted")
	}
	if _, err := OpenConsole(newDir(t), -1); err == nil {
		t.Error("a negative offset was accepted")
	}
}

func TestConsoleLongWrites(t *testing.T) {
	dir := newDir(t)
	text := strings.Repeat("0123456789", MaxFrame/4)
	must(t, AppendConsole(dir, StreamStderr, []byte(text)))
	endRun(t, dir)
	if got := readAll(t, dir)[StreamStderr]; got != text {
		t.Errorf("read %d bytes, wrote %d", len(got), len(text))
	}
}

// 300,000 lines as fast as they come, with the agent writing between them and the
// reader starting anew again and again.
func TestConsoleFlood(t *testing.T) {
	const lines = 300_000
	cfg := newConfig(t, sh(fmt.Sprintf(`seq -f "%%010.0f some text to make the line longer than it would be without" %d; seq -f err%%.0f 1000 >&2`, lines))...)
	task := start(t, cfg)
	var agent sync.WaitGroup
	agent.Go(func() {
		for i := range 200 {
			must(t, AppendConsole(cfg.Dir, StreamAgent, fmt.Appendf(nil, "agent %d\n", i)))
		}
	})
	text := map[string]*strings.Builder{StreamStdout: {}, StreamStderr: {}, StreamAgent: {}}
	frames, pos, done := 0, int64(0), false
	for !done {
		r, err := OpenConsole(cfg.Dir, pos)
		must(t, err)
		for range 500 {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			f, err := r.Next(ctx)
			cancel()
			if done = errors.Is(err, io.EOF); done {
				break
			}
			must(t, err)
			text[f.Stream].Write(f.Data)
			frames, pos = frames+1, f.End
		}
		must(t, r.Close())
	}
	agent.Wait()
	wait(t, task)
	wantLines(t, text[StreamStdout].String(), lines, func(i int) string {
		return fmt.Sprintf("%010d some text to make the line longer than it would be without", i)
	})
	wantLines(t, text[StreamStderr].String(), 1000, func(i int) string { return fmt.Sprintf("err%d", i) })
	t.Logf("%d frames, %d bytes", frames, pos)
}

func wantLines(t *testing.T, text string, n int, line func(int) string) {
	t.Helper()
	got := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(got) != n {
		t.Fatalf("%d lines, want %d", len(got), n)
	}
	for i, l := range got {
		if l != line(i+1) {
			t.Fatalf("line %d is %q", i+1, l)
		}
	}
}

// Many short lines with pauses come in few frames, and each soon.
func TestConsoleIsPrompt(t *testing.T) {
	cfg := newConfig(t, sh("printf first; read x < $0; echo last", filepathFIFO(t))...)
	task := start(t, cfg)
	r := openConsole(t, cfg.Dir, 0)
	if f := next(t, r); string(f.Data) != "first" {
		t.Errorf("%+v", f)
	}
	must(t, os.WriteFile(cfg.Args[3], []byte("go\n"), 0o600))
	wait(t, task)
	if f := next(t, r); string(f.Data) != "last\n" {
		t.Errorf("%+v", f)
	}
}

func filepathFIFO(t *testing.T) string {
	path := filepath.Join(newDir(t), "fifo")
	must(t, unix.Mkfifo(path, 0o600))
	return path
}

// A full disk costs output, never the task, and is told when there is room again.
func TestConsoleDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system to fill")
	}
	dir := newDir(t)
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	fifo := filepathFIFO(t)
	cfg := newConfig(t, sh(`head -c 8000000 /dev/zero | tr '\0' x; echo; read x < $0; echo end; exit 6`, fifo)...)
	cfg.Dir = filepath.Join(dir, "run")
	must(t, os.Mkdir(cfg.Dir, 0o700))
	filler := filepath.Join(dir, "filler")
	// More than the pipe holds: what waits there when the filler goes must fit, and the end too.
	must(t, os.WriteFile(filler, make([]byte, 2_500_000), 0o600))
	task := start(t, cfg)
	// Opening for writing waits until the task has come so far.
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	must(t, err)
	must(t, os.Remove(filler))
	_, err = f.WriteString("go\n")
	must(t, err)
	must(t, f.Close())
	exit := wait(t, task)
	out := readAll(t, cfg.Dir)
	if exit.Code != 6 || exit.Reason != Exited {
		t.Errorf("ended as %+v", exit)
	}
	if !strings.Contains(out[StreamAgent], "bytes of output are missing here: no space left on device") {
		t.Errorf("the agent's lines: %q", out[StreamAgent])
	}
	if !strings.HasSuffix(out[StreamStdout], "end\n") || len(out[StreamStdout]) >= 8_000_000 {
		t.Errorf("%d bytes of output, ending in %.20q", len(out[StreamStdout]), out[StreamStdout][max(0, len(out[StreamStdout])-20):])
	}
}
