package envcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Values of ioprio_set(2).
const (
	ioThread = 1
	ioIdle   = 3 << 13
	ioNormal = 0
)

// session is a session of processes, known by its leader, that is scheduled at
// low priority. Its leader must not be reaped yet: its id may be another's then.
type session int

// share is how a process is treated where processes want the same.
type share struct {
	cpu  unix.SchedAttr
	io   uintptr
	oom  string // oom_score_adj
	auto string // niceness among sessions, where the kernel schedules these as groups
}

// least is the share of what nobody waits for. Of two that want the memory, the
// kernel is to end the build, not the task.
var least = share{unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, ioIdle, "1000", "19"}

// usual is the share that this process has itself.
func usual() (share, error) {
	attr, err := unix.SchedGetAttr(os.Getpid(), 0)
	if err != nil {
		return share{}, err
	}
	oom, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return share{}, err
	}
	return share{unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: attr.Nice}, ioNormal, string(bytes.TrimSpace(oom)), "0"}, nil
}

// set gives all processes of the session a share. One that is being forked may be
// missed, so it looks again until nothing is left to do.
func (s session) set(want share) error {
	// Absent in many kernels, and without effect in some cgroups.
	_ = s.write(int(s), "autogroup", want.auto)
	for range 20 {
		changed, err := s.pass(want)
		if err != nil || changed == 0 {
			return err
		}
	}
	return errors.New("its processes are too many")
}

func (s session) pass(want share) (changed int, err error) {
	for _, pid := range s.pids() {
		_ = s.write(pid, "oom_score_adj", want.oom)
		for _, tid := range numbersIn(fmt.Sprintf("/proc/%d/task", pid)) {
			attr, err := unix.SchedGetAttr(tid, 0)
			if err == nil && attr.Policy != want.cpu.Policy {
				changed++
				err = unix.SchedSetAttr(tid, &want.cpu, 0)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return changed, err
			}
			_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioThread, uintptr(tid), want.io)
		}
	}
	return changed, nil
}

// write must not create: what proc says to that hides that a file is missing.
func (s session) write(pid int, file, value string) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/%s", pid, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for range 10 {
		// Whoever is not root may change an autogroup ten times a second.
		if _, err = f.WriteString(value); !errors.Is(err, unix.EAGAIN) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// pids are the processes of the session.
func (s session) pids() []int {
	pids := []int{int(s)}
	for _, pid := range numbersIn("/proc") {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		// The name, which is the program's to choose, ends at the last parenthesis.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if err == nil && pid != int(s) && len(fields) > 3 && fields[3] == strconv.Itoa(int(s)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// numbersIn are the entries of a folder of proc that are numbers.
func numbersIn(dir string) []int {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	names, _ := f.Readdirnames(-1) // what was read before an error counts
	var out []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// errStarved ends a program that can neither be hurried nor waited for. Only root,
// with CAP_SYS_NICE, may raise a priority. Most often that is no harm: the program
// has the CPU for itself, and restarting it would throw its work away. But if
// other tasks keep every CPU busy, low priority means hardly ever.
var errStarved = errors.New("it hardly gets the CPU at low priority, somebody waits for it, and this user may not raise its priority")

// starvedLook is the time between two looks whether a program gets the CPU.
const starvedLook = time.Second

// attend keeps the session at low priority until lift is closed. If it can't be
// raised then, and starves, giveUp ends it. stop ends the attention.
func (s session) attend(lift <-chan struct{}, giveUp context.CancelCauseFunc) (stop func()) {
	if err := s.set(least); err != nil {
		giveUp(fmt.Errorf("cannot run it at low priority (a root agent needs CAP_SYS_NICE): %w", err))
	}
	done := make(chan struct{})
	var attending sync.WaitGroup
	attending.Go(func() {
		select {
		case <-done:
		case <-lift:
			s.hurry(done, giveUp)
		}
	})
	return func() {
		close(done)
		attending.Wait()
	}
}

func (s session) hurry(done <-chan struct{}, giveUp context.CancelCauseFunc) {
	if normal, err := usual(); err == nil && s.set(normal) == nil {
		return
	}
	look := time.NewTicker(starvedLook)
	defer look.Stop()
	for before := s.load(); ; {
		select {
		case <-done:
			return
		case <-look.C:
		}
		now := s.load()
		if now.starved(before) {
			giveUp(errStarved)
			return
		}
		before = now
	}
}

// load is how long the threads of a session ran, and how long they waited for a
// CPU though they could have run.
type load struct{ ran, waited time.Duration }

func (s session) load() (l load) {
	for _, pid := range s.pids() {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			continue
		}
		for _, file := range threads {
			var ran, waited time.Duration
			data, err := os.ReadFile(file)
			if _, serr := fmt.Sscan(string(data), &ran, &waited); err == nil && serr == nil {
				l.ran, l.waited = l.ran+ran, l.waited+waited
			}
		}
	}
	return l
}

// starved tells whether since an earlier look the session mostly waited. Where
// processes ended meanwhile it can't be told.
func (l load) starved(before load) bool {
	ran, waited := l.ran-before.ran, l.waited-before.waited
	return ran >= 0 && waited > 3*ran && waited > starvedLook/4
}
