package shim

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentctl/runtime/internal/frame"
	"agentctl/runtime/internal/record"
)

// What a dead task has written is read, however long the disk was busy meanwhile.
func TestPumpAfterItsDeadline(t *testing.T) {
	dir := t.TempDir()
	c, err := openConsole(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.f.Close() }()
	p, w, err := newPump(c, frame.Stdout, -1, -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	// An end that stays open, as that of a process which escaped.
	defer func() { _ = w.Close() }()
	if _, err := w.WriteString(strings.Repeat("x", 60_000) + "last"); err != nil {
		t.Fatal(err)
	}
	if err := p.r.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	p.run()
	data, err := os.ReadFile(filepath.Join(dir, record.ConsoleFile))
	if err != nil || !bytes.Contains(data, []byte("xlast")) {
		t.Errorf("%d bytes are on the console, %v", len(data), err)
	}
}
