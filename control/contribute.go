package control

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/spec"
)

// Contribution is workers that a command has added to those of the spec's source.
type Contribution struct {
	// ID is that of the worker; several groups together have one, and each its own.
	ID      string            `json:"id"`
	Workers []spec.WorkerSpec `json:"workers"`
	By      string            `json:"by,omitempty"`
	Since   time.Time         `json:"since"`
	// Command is what was typed, without secrets.
	Command string `json:"command,omitempty"`
	// Followed tells that the command is still there.
	Followed bool `json:"followed,omitempty"`
}

// ContributeRequest asks for workers besides those of the spec's source.
type ContributeRequest struct {
	ID string `json:"id"`
	// Slot adds to the ID the first number that makes it one of its own.
	Slot    bool              `json:"slot,omitempty"`
	Workers []spec.WorkerSpec `json:"workers"`
	// Git is a file with logins of git hosts, for a node that has none.
	Git     string `json:"git,omitempty"`
	Command string `json:"command,omitempty"`
	// Follow says that the caller stays with them: once it is gone, another command may
	// take its place.
	Follow bool `json:"follow,omitempty"`
}

// ContributeReply tells what became of it. Replaced says that it took the place of one
// whose command was gone.
type ContributeReply struct {
	Contribution Contribution `json:"contribution"`
	Replaced     bool         `json:"replaced,omitempty"`
	Generation   int64        `json:"generation"`
}

// WithdrawRequest takes contributed workers away.
type WithdrawRequest struct {
	ID string `json:"id"`
}

// WithdrawReply names the groups that go.
type WithdrawReply struct {
	Groups     []string `json:"groups"`
	Generation int64    `json:"generation"`
}

// Contributions are the workers that commands add.
type Contributions interface {
	// Contributions lists them, oldest first.
	Contributions() []Contribution
	// Contribute and Withdraw return when they are in force, and on disk.
	Contribute(ctx context.Context, r ContributeRequest) (ContributeReply, error)
	Withdraw(ctx context.Context, r WithdrawRequest) (WithdrawReply, error)
}

// maxCommand bounds what is kept of a command line.
const maxCommand = 4096

func (s *Server) contribute(ctx context.Context, r ContributeRequest) (any, error) {
	if r.ID == "" || len(r.Workers) == 0 || len(r.Command) > maxCommand {
		return nil, &Error{Code: CodeBadRequest, Message: fmt.Sprintf("a contribution has an id and workers, and its command is not longer than %d bytes", maxCommand)}
	}
	reply, err := s.cfg.Contributions.Contribute(ctx, r)
	if err == nil {
		s.cfg.Log.Info("workers were contributed", "id", reply.Contribution.ID, "by", reply.Contribution.By, "command", r.Command)
	}
	return reply, err
}

func (s *Server) withdraw(ctx context.Context, r WithdrawRequest) (any, error) {
	s.cfg.Log.Info("asked to take contributed workers away", "id", r.ID, "by", Caller(ctx))
	return s.cfg.Contributions.Withdraw(ctx, r)
}

// CallerPID is the process on the other end of the socket; 0 if ctx is of no request,
// or the process is one that can't be seen from here.
func CallerPID(ctx context.Context) int {
	cred, ok := ctx.Value(callerKey{}).(*unix.Ucred)
	if !ok {
		return 0
	}
	return int(cred.Pid)
}

// Contributions lists what was contributed.
func (c *Client) Contributions(ctx context.Context) (list []Contribution, err error) {
	err = c.call(ctx, http.MethodGet, pathContributions, nil, &list)
	return list, err
}

// Contribute adds workers to those of the spec.
func (c *Client) Contribute(ctx context.Context, r ContributeRequest) (reply ContributeReply, err error) {
	err = c.call(ctx, http.MethodPost, pathContribute, r, &reply)
	return reply, err
}

// Withdraw takes contributed workers away.
func (c *Client) Withdraw(ctx context.Context, r WithdrawRequest) (reply WithdrawReply, err error) {
	err = c.call(ctx, http.MethodPost, pathWithdraw, r, &reply)
	return reply, err
}
