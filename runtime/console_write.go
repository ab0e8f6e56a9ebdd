package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"agentctl/runtime/internal/frame"
	"agentctl/runtime/internal/record"
)

// ConsoleWriter appends the agent's own lines to the console of a run, which may
// be writing too. It may be used from several goroutines.
type ConsoleWriter struct {
	stream frame.Stream
	mu     sync.Mutex
	f      *os.File
}

// OpenConsoleWriter opens the console in dir, which it creates (0600), for
// appending frames of a stream.
func OpenConsoleWriter(dir, stream string) (*ConsoleWriter, error) {
	s := frame.ParseStream(stream)
	if s == 0 {
		return nil, fmt.Errorf("cannot open the console: there is no stream %q", stream)
	}
	f, err := os.OpenFile(filepath.Join(dir, record.ConsoleFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the console: %w", err)
	}
	return &ConsoleWriter{stream: s, f: f}, nil
}

// Write appends p as one frame, or as many as MaxFrame asks for.
func (w *ConsoleWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return frame.Write(w.f, w.stream, time.Now(), p)
}

// Close closes the file; what was written is in it.
func (w *ConsoleWriter) Close() error { return w.f.Close() }

// AppendConsole appends data as one frame, or as many as MaxFrame asks for, to
// the console in dir.
func AppendConsole(dir, stream string, data []byte) error {
	w, err := OpenConsoleWriter(dir, stream)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	return err
}
