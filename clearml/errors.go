package clearml

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
)

// Subcodes of a refusal with code 400 that callers tell apart. The whole table
// is apiserver/apierrors/errors.conf in clearml/clearml-server.
const (
	subcodeInvalidProject = 16
	subcodeInvalidTask    = 101
	subcodeTaskStatus     = 110
	subcodeLostRace       = 121
	subcodeEventsRefused  = 131
	subcodeInvalidQueue   = 701
	subcodeNotInQueue     = 703
	subcodeAlreadyQueued  = 706
)

// Error is the server's refusal of one call.
type Error struct {
	// Action is the endpoint, as "tasks.started".
	Action string
	// Code is the HTTP status, Subcode ClearML's own finer number.
	Code, Subcode int
	// Message is the server's text, cleaned of control characters and cut.
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("server refused %s: %s (%d/%d)", e.Action, e.Message, e.Code, e.Subcode)
}

// Is makes errors.Is(err, ErrTaskGone) true for every call that named a task
// which the server does not have.
func (e *Error) Is(target error) bool {
	return target == ErrTaskGone && e.Code == http.StatusBadRequest && e.Subcode == subcodeInvalidTask
}

// Unreachable is a call without an answer from a ClearML server.
type Unreachable struct {
	Action string
	// Ambiguous is true when the server may have carried out the call.
	Ambiguous bool
	Err       error
}

func (e *Unreachable) Error() string {
	if e.Ambiguous {
		return fmt.Sprintf("no answer to %s, which the server may have carried out: %v", e.Action, e.Err)
	}
	return fmt.Sprintf("cannot reach the server for %s: %v", e.Action, e.Err)
}

func (e *Unreachable) Unwrap() error { return e.Err }

var (
	// ErrTaskGone means that the server has no such task, or has it no more.
	ErrTaskGone = errors.New("the server has no such task")
	// ErrNotFound means that the server has nothing of the name asked for.
	ErrNotFound = errors.New("the server has nothing of that name")
)

// IsRefused tells that the server has said no for good: the same call will be
// refused again. Missing rights to log in, overload and the server's own faults
// are not refusals.
func IsRefused(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return errors.Is(err, ErrTaskGone)
	}
	switch e.Code {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return e.Code >= 400 && e.Code < 500
}

// IsNotFound tells that what the call named does not exist: the endpoint, the
// task, the queue, the project, or a name that was looked up.
func IsNotFound(err error) bool {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrTaskGone) {
		return true
	}
	return is(err, http.StatusBadRequest, subcodeInvalidTask, subcodeInvalidQueue, subcodeInvalidProject) ||
		is(err, http.StatusNotFound)
}

// IsStatusConflict tells that the task's status does not allow the call, or that
// another caller changed it first, or that the task is in the queue already.
func IsStatusConflict(err error) bool {
	return is(err, http.StatusBadRequest, subcodeTaskStatus, subcodeLostRace, subcodeAlreadyQueued)
}

// IsNotInQueue tells that a queue operation named a task that is not in that queue.
func IsNotInQueue(err error) bool { return is(err, http.StatusBadRequest, subcodeNotInQueue) }

// IsUnauthorized tells that the credentials or the token were not accepted.
func IsUnauthorized(err error) bool { return is(err, http.StatusUnauthorized) }

// IsAmbiguous tells that the call may or may not have been carried out.
func IsAmbiguous(err error) bool {
	var u *Unreachable
	return errors.As(err, &u) && u.Ambiguous
}

func is(err error, code int, subcodes ...int) bool {
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		return false
	}
	if len(subcodes) == 0 {
		return true
	}
	for _, s := range subcodes {
		if e.Subcode == s {
			return true
		}
	}
	return false
}

// maxMessage bounds what of a server's text gets into errors and logs.
const maxMessage = 2000

// clean makes a server's text fit for a log or a terminal: no control
// characters that could forge lines or move a cursor.
func clean(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
