// Command agentctl runs ML tasks from queues on one node, as node.yaml says.
//
// It is the only place that knows every concrete type: flags, wiring and exit
// codes. Each verb has a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"agentctl/control"
	"agentctl/spec"
)

// Exit codes, as docs/cli.md lists them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitTimeout     = 3
	exitMoved       = 4
	exitNoAgent     = 5
	exitUnverified  = 6
	exitInterrupted = 130
)

// exitError carries the exit code of a verb. A nil Err prints nothing.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// Main is one run of the program, so that tests can make one with their own
// streams.
type Main struct {
	// Name by which the program was called.
	Name           string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
}

func main() {
	if err := ranged(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(exitFailed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	m := Main{Name: os.Args[0], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	// After the first signal the default action is back: a second one always ends us.
	context.AfterFunc(ctx, stop)
	os.Exit(m.Run(ctx, os.Args[1:]))
}

// Run runs one command line and returns its exit code.
func (m *Main) Run(ctx context.Context, args []string) int {
	root := m.root()
	args, err := m.adapted(root, args)
	if err == nil {
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return exitOK
	}
	code, message := classify(ctx, err)
	if message != "" {
		fmt.Fprintln(m.Stderr, "error: "+message)
	}
	return code
}

// classify gives the exit code of an error and what to print.
func classify(ctx context.Context, err error) (int, string) {
	var exit *exitError
	var usage *usageError
	var refused *control.Error
	switch {
	case errors.As(err, &exit):
		if exit.err == nil {
			return exit.code, ""
		}
		return exit.code, exit.err.Error()
	case errors.As(err, &usage):
		return exitUsage, usage.Error() + "; see agentctl help"
	case errors.Is(err, control.ErrNoAgent):
		return exitNoAgent, err.Error()
	case errors.As(err, &refused) && len(refused.Problems) > 0:
		return exitUsage, err.Error()
	case errors.As(err, &refused) && refused.Code == control.CodeMoved:
		return exitMoved, err.Error()
	case errors.As(err, &refused) && refused.Code == control.CodeUnverified:
		return exitUnverified, err.Error()
	case ctx.Err() != nil:
		return exitInterrupted, "interrupted"
	}
	return exitFailed, err.Error()
}

// usageError is a command line that can't be understood.
type usageError struct{ err error }

// usagef makes a usageError.
func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// invalid prints the faults of a spec and returns the error that ends the verb.
func (m *Main) invalid(problems spec.Problems) error {
	for _, p := range problems {
		fmt.Fprintln(m.Stderr, printable(p.String()))
	}
	return &exitError{exitUsage, fmt.Errorf("the spec is not valid: %s", plural(len(problems.Errors()), "error"))}
}

// explained prints the faults of a spec that the agent has refused; any other error stays
// what it is.
func (m *Main) explained(err error) error {
	var refused *control.Error
	if errors.As(err, &refused) && len(refused.Problems) > 0 {
		return m.invalid(refused.Problems)
	}
	return err
}
