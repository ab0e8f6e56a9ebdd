package shim

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
)

// ended is what the reaper knows.
type ended struct {
	main chan syscall.WaitStatus // has the main process's status when it is dead
	all  chan struct{}           // closed when no child is left
}

// supervise waits for the end of the main process, carries out wishes to stop
// and the limit of time, and then ends what is left.
func (s *shim) supervise(e ended) record.Exit {
	k := &keeper{shim: s}
	if s.run.MaxRuntime > 0 {
		limit := time.NewTimer(s.run.MaxRuntime)
		defer limit.Stop()
		k.limit = limit.C
	}
	exit := describe(k.wait(e.main))
	if k.reason != "" {
		exit.Reason, exit.Message = k.reason, k.message
	}
	if b, ok := s.box.(*sandboxed); ok && exit.Code != 0 && k.reason == "" && b.made.OutOfMemory() {
		// The kernel kills one process; another may make an exit code of it.
		exit.Reason = record.OutOfMemory
		exit.Message = fmt.Sprintf("out of memory: a process was killed at the limit of %d bytes; %s", s.run.Sandbox.Resources.Memory, exit.Message)
	}
	s.sweep(e)
	return exit
}

// reap collects dead children, the task's main process and orphans, until none
// is left.
func (s *shim) reap(c child) ended {
	e := ended{main: make(chan syscall.WaitStatus, 1), all: make(chan struct{})}
	go func() {
		defer close(e.all)
		for {
			var ws syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &ws, 0, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil {
				return
			}
			if pid == c.pid {
				e.main <- c.outcome(ws)
			}
		}
	}()
	return e
}

// outcome is the status of the task, where the child is only its init.
func (c child) outcome(ws syscall.WaitStatus) syscall.WaitStatus {
	if c.status == nil {
		return ws
	}
	if told, ok := c.status(); ok {
		return told
	}
	return ws
}

// keeper ends the task when it is asked to or its time is over. The first reason
// counts, and the end that comes first.
type keeper struct {
	*shim
	limit   <-chan time.Time
	reason  string
	message string
	saved   <-chan time.Time // when the task has had its time to save its state
	grace   time.Duration    // then
	asked   bool             // to end, by the stop signal
	kill    <-chan time.Time
	at      time.Time // of the kill
	pause   time.Duration
}

func (k *keeper) wait(main <-chan syscall.WaitStatus) syscall.WaitStatus {
	for {
		select {
		case ws := <-main:
			return ws
		case <-k.terms:
			k.wish()
		case <-k.saved:
			k.end(k.reason, k.message, k.grace)
		case <-k.limit:
			k.end(record.TimedOut, fmt.Sprintf("ran longer than %s", k.run.MaxRuntime), k.run.Grace)
		case <-k.kill:
			k.strike()
		}
	}
}

// wish reads what the agent wants. A SIGTERM without a wish, by whomever, stops
// the task as its configuration says.
func (k *keeper) wish() {
	wish, err := record.ReadStop(k.dir)
	switch {
	case err != nil:
		k.end(record.Stopped, fmt.Sprintf("stopped; %v", err), k.run.Grace)
	case wish == nil:
		k.end(record.Stopped, "stopped by a SIGTERM to the shim", k.run.Grace)
	case wish.Checkpoint != "" && k.reason == "":
		k.reason, k.message, k.grace = record.Stopped, wish.Reason, wish.Grace
		k.saved = time.After(wish.Save)
		k.checkpoint(wish.Checkpoint)
	case wish.Checkpoint != "" && !k.asked: // is under way
	default:
		k.end(record.Stopped, wish.Reason, wish.Grace)
	}
}

// checkpoint signals those processes that handle it: it would end the others.
func (k *keeper) checkpoint(name string) {
	sig := unix.SignalNum(name)
	pids, err := k.box.pids()
	if err == nil {
		pids = slices.DeleteFunc(pids, func(pid int) bool { return !contain.Handles(pid, sig) })
		err = contain.Signal(pids, sig)
	}
	switch {
	case err != nil:
		k.console.say("cannot have the task save its state: %v", err)
	case len(pids) == 0:
		k.console.say("no process of the task handles %s: it can't save its state", name)
		k.saved = time.After(0)
	}
}

func (k *keeper) end(reason, message string, grace time.Duration) {
	at := time.Now().Add(grace)
	if k.reason == "" {
		k.reason, k.message = reason, message
	}
	if !k.asked {
		k.asked, k.saved = true, nil
		k.signal(stopSignal(k.run))
	} else if !at.Before(k.at) {
		return
	}
	k.at, k.kill, k.pause = at, time.After(grace), time.Millisecond
}

// signal reaches all processes of the task. One that can't be reached is left to
// the kill.
func (k *keeper) signal(sig syscall.Signal) {
	pids, err := k.box.pids()
	if err == nil {
		// One that is stopped gets the signal when it goes on.
		err = errors.Join(contain.Signal(pids, sig), contain.Signal(pids, syscall.SIGCONT))
	}
	if err != nil {
		k.console.say("cannot stop the task gently: %v", err)
	}
}

// strike kills, and again until the main process is dead.
func (k *keeper) strike() {
	if err := k.box.kill(); err != nil {
		k.console.say("%v", err)
	}
	k.pause = min(2*k.pause, time.Second)
	k.kill = time.After(k.pause)
}

// stubborn is after how long a user is told that processes don't die.
const stubborn = 10 * time.Second

// sweep kills until nothing is left of the task, however long the kernel holds a
// process: as long as one lives, its GPU and its environment are in use.
func (s *shim) sweep(e ended) {
	began, told, gone, all := time.Now(), s.console == nil, false, e.all
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		// Most tasks leave nothing: looking through /proc would only cost time.
		select {
		case <-all:
			gone, all = true, nil
		case <-time.After(pause):
		}
		if gone && s.box.empty() {
			break
		}
		err := s.box.kill()
		if !told && time.Since(began) > stubborn {
			told = true
			pids, _ := s.box.pids()
			s.console.say("waiting for processes that don't die: %v %v", pids, err)
		}
	}
	if err := s.box.remove(); err != nil && s.console != nil {
		s.console.say("%v", err)
	}
}
