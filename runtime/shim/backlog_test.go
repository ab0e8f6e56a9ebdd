package shim

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"agentctl/runtime/internal/frame"
	"agentctl/runtime/internal/record"
)

// What does not fit into the backlog is told in the console when there is room again,
// and the agent's own lines always fit.
func TestBacklog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := openConsole(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.f.Close()
	c.backlog.most = 1000
	now := time.Now()
	put := func(stream frame.Stream, text string) {
		now = now.Add(2 * time.Second)
		c.put(append(make([]byte, frame.Header), text...), stream, now)
	}
	line := string(bytes.Repeat([]byte("x"), 99)) + "\n"
	for range 20 {
		put(frame.Stdout, line)
	}
	put(frame.Agent, "agent\n")
	full, err := os.ReadFile(filepath.Join(dir, record.ConsoleFile))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(full, []byte(line)); n < 5 || n > 10 || !bytes.Contains(full, []byte("agent\n")) {
		t.Errorf("%d lines of 100 bytes in a backlog of 1000", n)
	}
	lost := 20 - bytes.Count(full, []byte(line))
	cursor := fmt.Sprintf(`{"version":1,"sent":{"time":1,"pos":{"frame":%d,"skip":0}}}`, len(full))
	if err := os.WriteFile(filepath.Join(dir, record.CursorFile), []byte(cursor), 0o600); err != nil {
		t.Fatal(err)
	}
	put(frame.Stdout, "after\n")
	all, err := os.ReadFile(filepath.Join(dir, record.ConsoleFile))
	if err != nil {
		t.Fatal(err)
	}
	rest := all[len(full):]
	want := fmt.Sprintf("%d bytes of output are missing here: ", lost*len(line))
	if !bytes.Contains(full, []byte(want)) && !bytes.Contains(rest, []byte(want)) || !bytes.HasSuffix(rest, []byte("after\n")) {
		t.Errorf("%q is not in %q", want, rest)
	}
}
