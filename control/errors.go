package control

import (
	"errors"
	"net/http"

	"agentctl/spec"
)

// Codes of an Error.
const (
	CodeBadRequest  = "bad_request" // the request itself is wrong
	CodeInvalid     = "invalid"     // the spec is; Problems say where
	CodeNotFound    = "not_found"   // no such worker, task or endpoint
	CodeAmbiguous   = "ambiguous"   // the beginning of an id fits several
	CodeTakeOver    = "take_over"   // the source was given by other means
	CodeMoved       = "moved"       // another revision is in force than was said
	CodeSuspended   = "suspended"   // the source is, and that was not asked to end
	CodeDanger      = "danger"      // the change is seldom meant: say that it is
	CodeNothing     = "nothing"     // there is nothing to resume, confirm or roll back to
	CodeContributed = "contributed" // the worker is there already, or may not be added
	CodeUnverified  = "unverified"  // a commit is not signed, or does not come after the last
	CodeTooLarge    = "too_large"
	CodeInternal    = "internal"
)

// ErrNoAgent means that nobody answers on the socket.
var ErrNoAgent = errors.New("no agent answers")

// Error is the agent's refusal of a request.
type Error struct {
	Code     string        `json:"code"`
	Message  string        `json:"message"`
	Problems spec.Problems `json:"problems,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// statuses are the HTTP statuses of the codes.
var statuses = map[string]int{
	CodeBadRequest:  http.StatusBadRequest,
	CodeInvalid:     http.StatusUnprocessableEntity,
	CodeNotFound:    http.StatusNotFound,
	CodeAmbiguous:   http.StatusConflict,
	CodeTakeOver:    http.StatusConflict,
	CodeMoved:       http.StatusPreconditionFailed,
	CodeSuspended:   http.StatusConflict,
	CodeDanger:      http.StatusConflict,
	CodeNothing:     http.StatusConflict,
	CodeContributed: http.StatusConflict,
	CodeUnverified:  http.StatusForbidden,
	CodeTooLarge:    http.StatusRequestEntityTooLarge,
}

func (e *Error) status() int {
	if s, ok := statuses[e.Code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// asError gives err a code, CodeInternal if it has none.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &Error{Code: CodeTooLarge, Message: "the request is too large"}
	}
	return &Error{Code: CodeInternal, Message: err.Error()}
}
