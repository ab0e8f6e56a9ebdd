package envcache

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentctl/envcache/internal/talk"
)

//go:embed hocon.py
var hoconProgram string

// HOCONPart is a file of a document, or a text.
type HOCONPart struct {
	File string `json:"file,omitempty"`
	Text string `json:"text,omitempty"`
	// Under is the key that the part is put below; "" is none.
	Under string `json:"under,omitempty"`
}

// HOCON is a document as it was read, or why it can't be.
type HOCON struct {
	Value map[string]any `json:"value"`
	Error *HOCONError    `json:"error"`
}

// HOCONError tells where a document is faulty, and nothing of what stands there.
type HOCONError struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Fault  string `json:"fault"`
}

func (e *HOCONError) Error() string {
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", at, e.Line, e.Column)
	}
	return strings.TrimPrefix(at+": "+e.Fault, ": ")
}

// Limits of reading HOCON. The child has limits of its own for memory and CPU.
const (
	hoconTime = 2 * time.Minute
	mostHOCON = 64 << 20
)

// ReadHOCON reads documents, each of parts of which the later lie over the earlier, by
// pyhocon: pinned, and kept in the state folder dir with the other tools. env is what
// substitutions may name.
func ReadHOCON(ctx context.Context, dir string, opts Options, env []string, documents [][]HOCONPart) ([]HOCON, error) {
	state, err := openState(dir)
	if err != nil {
		return nil, err
	}
	opts = opts.filled()
	finder, err := NewFinder(state, opts)
	if err != nil {
		return nil, err
	}
	tools := &toolbox{finder: finder, pipTools: &pipTools{dir: filepath.Join(state, "tools"), exec: opts.Exec, env: CleanEnv(opts.Getenv), now: time.Now}}
	py, libraries, err := tools.pyhocon(ctx, opts.Getenv)
	if err != nil {
		return nil, fmt.Errorf("cannot have pyhocon, which reads HOCON (JSON needs none): %w", err)
	}
	ask, err := json.Marshal(map[string]any{"libraries": libraries, "documents": documents})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, hoconTime, errors.New("it took too long"))
	defer cancel()
	out := &bounded{most: mostHOCON}
	said := talk.NewLines(func(l string) string { return l }, nil)
	defer func() { _ = said.Close() }()
	exit, err := opts.Exec.Run(ctx, Cmd{
		Args: []string{py.Path, "-I", "-c", hoconProgram}, Env: env, Dir: workingFolder(), UID: SameUser, GID: SameUser,
		Stdin: bytes.NewReader(ask), Stdout: out, Stderr: said,
	})
	var found []HOCON
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read HOCON: %w", err)
	case out.over:
		return nil, errors.New("cannot read HOCON: what it says is too large")
	case exit.Signal != "" || exit.Code != 0: // what it said may have a secret in it
		return nil, fmt.Errorf("cannot read HOCON: its reader ended with %s", exitText(exit))
	}
	if err := json.Unmarshal(out.Bytes(), &found); err != nil || len(found) != len(documents) {
		return nil, errors.New("cannot read HOCON: its reader gave no answer")
	}
	return found, nil
}

func exitText(e Exit) string {
	if e.Signal != "" {
		return "signal " + e.Signal
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// workingFolder is where relative includes of a text start from.
func workingFolder() string {
	dir, err := os.Getwd()
	if err != nil {
		return "/"
	}
	return dir
}

// bounded keeps what a program says, up to a size. The rest is thrown away, so that the
// program can end.
type bounded struct {
	bytes.Buffer
	most int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.most {
		b.over = true
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
