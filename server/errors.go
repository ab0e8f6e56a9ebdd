package server

import (
	"errors"
	"fmt"
	"net/http"
)

// refusal is an error that goes to the client as ClearML's code and subcode.
// The texts follow apiserver/apierrors/errors.conf of clearml/clearml-server.
type refusal struct {
	code, sub int
	text      string
}

func (r *refusal) Error() string { return r.text }

func refuse(code, sub int, format string, args ...any) error {
	return &refusal{code, sub, fmt.Sprintf(format, args...)}
}

func missing(field string) error {
	return refuse(400, 12, "Validation error (error for field '%s'. field is required!)", field)
}

func invalid(field, format string, args ...any) error {
	return refuse(400, 12, "Validation error (error for field '%s'. %s)", field, fmt.Sprintf(format, args...))
}

func noTask(id string) error {
	return refuse(400, 101, "Invalid task id: id=%s, company=%s", id, companyID)
}

func noQueue(id string) error {
	return refuse(400, 701, "Invalid queue id: id=%s, company=%s", id, companyID)
}

func noProject(id string) error { return refuse(400, 401, "Invalid project id: id=%.200s", id) }

func noModel(id string) error {
	return refuse(400, 201, "Invalid model id: id=%s, company=%s", id, companyID)
}

func badStatus(from, to string) error {
	return refuse(400, 110, "Invalid task status (Invalid status change): current_status=%s, new_status=%s", from, to)
}

func expectStatus(expected, is string) error {
	return refuse(400, 110, "Invalid task status: expected=%s, status=%s", expected, is)
}

func forbidden(what string) error {
	return refuse(403, 20, "Forbidden (not allowed with a task's token): %s", what)
}

// asRefusal turns any error into what the client is told. Texts of our own
// faults stay in our log: they may name paths.
func asRefusal(err error) (*refusal, bool) {
	var r *refusal
	err = storageError(err)
	switch {
	case errors.As(err, &r):
		return r, true
	case errors.Is(err, errClosed):
		return &refusal{http.StatusServiceUnavailable, 0, "Service unavailable: the server is shutting down"}, true
	case errors.Is(err, errStorage):
		return &refusal{http.StatusServiceUnavailable, 0, "Service unavailable: the store can't be written"}, false
	}
	return &refusal{http.StatusInternalServerError, 100, "General error"}, false
}
