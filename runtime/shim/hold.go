package shim

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/runtime/internal/frame"
	"agentctl/runtime/internal/record"
)

// hold starts the task, keeps it until nothing is left of it, and records its
// end. It is called on the locked thread, which sees what the task sees: all that
// touches the run's folder happens in another goroutine, on other threads.
func (s *shim) hold() error {
	t := s.start()
	done := make(chan error, 1)
	go func() { done <- s.see(t) }()
	// Parked, not left: the task dies with the thread that forked it.
	return <-done
}

// task is what was started, or why it was not.
type task struct {
	child  child
	pumps  []*pump
	ending chan struct{}
	err    error
}

// start makes view and box and forks the task.
func (s *shim) start() *task {
	t := &task{ending: make(chan struct{})}
	if t.err = s.build(); t.err != nil {
		return t
	}
	if s.run.Ahead {
		ordered := make(chan error, 1)
		go func() { ordered <- s.await() }()
		if t.err = <-ordered; t.err != nil {
			return t
		}
	}
	var ends []*os.File
	uid, gid := owner(s.run)
	for _, stream := range []frame.Stream{frame.Stdout, frame.Stderr} {
		p, w, err := newPump(s.console, stream, uid, gid, t.ending)
		if err != nil {
			t.err = err
			return t
		}
		// Our copies of the ends that the task writes to: with them the pipes would
		// never end.
		defer func() { _ = w.Close() }()
		t.pumps, ends = append(t.pumps, p), append(ends, w)
	}
	t.child, t.err = s.spawn(ends[0], ends[1])
	crash.Point("shim.started")
	return t
}

// see sees the task through to its end.
func (s *shim) see(t *task) error {
	e := s.reap(t.child)
	if s.run.Ahead { // as it was started: what adopted a run is none any more
		s.drop(e, t.err)
		return nil
	}
	if s.spare != "" {
		s.leaveSpare()
	}
	exit := record.Exit{Code: -1, Reason: record.StartFailed}
	if t.err != nil {
		exit.Message = t.err.Error()
		s.sweep(e)
	} else {
		var pumps sync.WaitGroup
		for _, p := range t.pumps {
			pumps.Go(p.run)
		}
		serving := s.serveExec()
		exit = s.supervise(e)
		serving.stop()
		t.drain()
		pumps.Wait()
	}
	s.console.finish()
	exit.Version, exit.Started, exit.Ended = record.Version, s.started, time.Now()
	exit.Containment, exit.MountNS = s.run.Containment, s.run.MountNS
	crash.Point("shim.before-exit")
	err := s.recordExit(exit)
	crash.Point("shim.exit")
	return err
}

// drainPatience bounds the reading of what a dead task wrote.
const drainPatience = 2 * time.Second

// drain makes the pumps end. All writers are dead, so what they wrote is in the
// pipes and the end is near; only a process that escaped could keep it away.
func (t *task) drain() {
	close(t.ending)
	for _, p := range t.pumps {
		_ = p.r.SetReadDeadline(time.Now().Add(drainPatience))
	}
}

// recordExit writes exit.json, in the room that was reserved for it.
func (s *shim) recordExit(exit record.Exit) error {
	data, err := exit.Encode(exitRoom)
	if err != nil {
		return err
	}
	for pause := time.Millisecond; ; pause *= 2 {
		if err = s.publish(data); err == nil || pause > time.Minute {
			return err
		}
		time.Sleep(pause)
	}
}

func (s *shim) publish(data []byte) error {
	_, err := s.exit.WriteAt(data, 0)
	if err == nil {
		err = s.exit.Truncate(int64(len(data)))
	}
	if err == nil {
		err = os.Rename(s.exit.Name(), filepath.Join(s.dir, record.ExitFile))
	}
	if err != nil {
		return fmt.Errorf("cannot record the end of the task: %w", err)
	}
	// Renamed, it is the truth for all who look, and the agent that waits is told. What it
	// reports it makes durable itself; this is for one that comes after a power cut, which
	// takes an exit that it can't read for none.
	_ = s.word.Close()
	_ = s.exit.Sync()
	_ = fsx.SyncDir(s.dir)
	return nil
}

// describe tells how the task's main process ended.
func describe(ws syscall.WaitStatus) record.Exit {
	if ws.Signaled() {
		name := unix.SignalName(ws.Signal())
		return record.Exit{
			Code: 128 + int(ws.Signal()), Signal: name, Reason: record.Signaled,
			Message: "killed by " + name + " (" + ws.Signal().String() + ")",
		}
	}
	e := record.Exit{Code: ws.ExitStatus(), Reason: record.Exited}
	if e.Code != 0 {
		e.Message = fmt.Sprintf("exited with code %d", e.Code)
	}
	return e
}
