package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A child that EnterRange started can do what its agent can't. It reads one order from a
// descriptor, answers on the next, and ends with whoever wants its answer.
const (
	orderFD = 3 + iota
	answersFD
	// DelegateFD is the first of the further descriptors of such a child.
	DelegateFD
)

// saying is one line of what a child says; the last one has Done.
type saying[A any] struct {
	Answer A
	Done   bool
}

// delegatePatience is how long a child may take to end whose answer nobody wants any more.
const delegatePatience = time.Minute

// Delegate has cmd, a program that calls Obey and that enter starts, do what is ordered.
// say gets what it answers before the last. That its streams were not copied to their end
// is an error, unless cmd's WaitDelay cuts them.
func Delegate[A any](ctx context.Context, cmd *exec.Cmd, enter func(*exec.Cmd) error, order any, say func(A)) (last A, err error) {
	orders, send, err := os.Pipe()
	if err != nil {
		return last, err
	}
	defer func() { _ = send.Close() }()
	receive, answers, err := os.Pipe()
	if err != nil {
		_ = orders.Close()
		return last, err
	}
	defer func() { _ = receive.Close() }()
	cmd.ExtraFiles = append([]*os.File{orders, answers}, cmd.ExtraFiles...)
	err = enter(cmd)
	_, _ = orders.Close(), answers.Close()
	if err != nil {
		return last, err
	}
	// The order goes out once the child has its ids. From then on the closed pipe ends it,
	// and the wait for one that does not read a long order.
	stop := endDelegate(ctx, send, cmd.Process)
	err = json.NewEncoder(send).Encode(order)
	last, herr := hear(receive, say)
	_ = send.Close()
	werr := cmd.Wait()
	stop()
	if errors.Is(werr, exec.ErrWaitDelay) {
		werr = nil
	}
	return last, errors.Join(err, herr, werr)
}

// endDelegate closes the pipe to a child when ctx ends, and kills one that goes on all the
// same, until stop.
func endDelegate(ctx context.Context, send io.Closer, child *os.Process) (stop func()) {
	stopped := make(chan struct{})
	var ending sync.WaitGroup
	ending.Go(func() {
		select {
		case <-stopped:
			return
		case <-ctx.Done():
		}
		_ = send.Close()
		late := time.NewTimer(delegatePatience)
		defer late.Stop()
		select {
		case <-stopped:
		case <-late.C:
			_ = child.Kill()
		}
	})
	return func() { close(stopped); ending.Wait() }
}

// hear reads what a child says, to the last.
func hear[A any](r io.Reader, say func(A)) (A, error) {
	for in := json.NewDecoder(r); ; {
		var s saying[A]
		if err := in.Decode(&s); err != nil {
			return s.Answer, fmt.Errorf("it ended without an answer: %w", err)
		}
		if s.Done {
			return s.Answer, nil
		}
		say(s.Answer)
	}
}

// Obey is the life of a child of Delegate, which called AwaitRange: it does what is
// ordered, and answers. It returns its exit code. do may answer from many goroutines.
func Obey[O, A any](do func(ctx context.Context, order O, say func(A)) A) int {
	in, out := os.NewFile(orderFD, "order"), os.NewFile(answersFD, "answers")
	if in == nil || out == nil {
		fmt.Fprintln(os.Stderr, "this is for agentctl itself")
		return 2
	}
	unix.CloseOnExec(orderFD) // what it starts has no part in this
	unix.CloseOnExec(answersFD)
	var order O
	if err := json.NewDecoder(in).Decode(&order); err != nil {
		fmt.Fprintln(os.Stderr, "cannot read the order:", err)
		return 2
	}
	// The agent holds the other end open for as long as it wants the answer.
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel(errors.New("the agent went away, or does not want it any more"))
	}()
	var mu sync.Mutex
	enc := json.NewEncoder(out)
	answer := func(s saying[A]) {
		mu.Lock()
		defer mu.Unlock()
		_ = enc.Encode(s) // nobody listens any more: the context ends as well
	}
	last := do(ctx, order, func(a A) { answer(saying[A]{Answer: a}) })
	answer(saying[A]{last, true})
	return 0
}
