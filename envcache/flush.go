package envcache

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// flushEvery is how often what a build wrote so far is brought to the disk.
const flushEvery = time.Second

// flushing brings what is written below dir to the disk while more is written:
// compiling keeps the processor busy for as long as a large environment keeps
// the disk busy, and only the rest is waited for before the environment is
// published. The function that it gives ends it and tells of writes that failed,
// which nobody else is told of any more.
func flushing(dir string) (end func() error, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(flushEvery)
		defer tick.Stop()
		var failed error
		for {
			select {
			case <-stop:
				ended <- errors.Join(failed, d.Close())
				return
			case <-tick.C:
				failed = errors.Join(failed, unix.Syncfs(int(d.Fd())))
			}
		}
	}()
	return func() error { close(stop); return <-ended }, nil
}
