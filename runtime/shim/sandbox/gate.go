package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// gate is the fifo at which libcontainer's init waits before it executes the runner. It
// is opened as soon as it is there, so that nobody waits. Container.Run would do it on
// another thread, which does not see the stage.
type gate struct {
	dir    *os.File
	stop   chan struct{}
	opened chan *os.File // has one value
}

// openGate begins to open the gate of the container whose state is in dir.
func openGate(dir string) (*gate, error) {
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot start the runner: %w", err)
	}
	g := &gate{dir: d, stop: make(chan struct{}), opened: make(chan *os.File, 1)}
	go func() { g.opened <- g.open() }()
	return g, nil
}

func (g *gate) open() *os.File {
	for {
		fd, err := unix.Openat(int(g.dir.Fd()), "exec.fifo", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			return os.NewFile(uintptr(fd), "exec.fifo")
		}
		select {
		case <-g.stop:
			return nil
		case <-time.After(200 * time.Microsecond): // not made yet
		}
	}
}

// close gives up. It must be called once.
func (g *gate) close() {
	close(g.stop)
	if f := <-g.opened; f != nil {
		_ = f.Close()
	}
	_ = g.dir.Close()
}

// await waits until the init, process pid, has passed.
func (g *gate) await(pid int) error {
	f := <-g.opened
	defer func() { g.opened <- f }()
	for {
		_ = f.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		var zero [1]byte
		n, err := f.Read(zero[:])
		if n == 1 {
			return nil
		}
		var dead syscall.WaitStatus
		if got, _ := syscall.Wait4(pid, &dead, syscall.WNOHANG, nil); got == pid {
			return fmt.Errorf("cannot start the runner: its init ended with %#x", int(dead))
		}
		switch {
		case errors.Is(err, io.EOF): // it is not there yet
			time.Sleep(200 * time.Microsecond)
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("cannot start the runner: %w", err)
		}
	}
}
