package envcache

import (
	"fmt"
	"strings"
)

// BuildError is the failure of a program that builds an environment.
type BuildError struct {
	Step  string   // as "pip"
	Cause string   // the likely cause, for a person; "" if it is not known
	Lines []string // the program's last lines, without secrets
	Exit  Exit
	Err   error // why it could not be run to its end, or nil
}

// Error gives the cause and the last lines.
func (e *BuildError) Error() string {
	var b strings.Builder
	b.WriteString("cannot build the environment: " + e.Step)
	switch {
	case e.Err != nil:
		fmt.Fprintf(&b, " was not finished: %v", e.Err)
	case e.Exit.Signal != "":
		fmt.Fprintf(&b, " was ended by a signal: %s", e.Exit.Signal)
	default:
		fmt.Fprintf(&b, " failed with exit status %d", e.Exit.Code)
	}
	if e.Cause != "" {
		b.WriteString(": " + e.Cause)
	}
	for _, l := range e.Lines {
		b.WriteString("\n    " + l)
	}
	return b.String()
}

// Unwrap gives the error of the run.
func (e *BuildError) Unwrap() error { return e.Err }

// shownLines is how many of the program's last lines an error shows.
const shownLines = 25

func newBuildError(step string, exit Exit, err error, lines []string, python string) *BuildError {
	return &BuildError{
		Step: step, Exit: exit, Err: err,
		Cause: causeOf(strings.Join(lines, "\n"), python), Lines: lines[max(0, len(lines)-shownLines):],
	}
}
