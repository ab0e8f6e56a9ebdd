package shim

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// probeMain plays the small tasks by which package runtime finds out what works.
func probeMain(args []string) int {
	var err error
	switch {
	case args[0] == "leave":
		err = leave()
	case args[0] == "stay":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
		time.Sleep(time.Minute)
	case args[0] == "change" && len(args) == 2:
		err = change(args[1])
	case args[0] == "write" && len(args) == 2:
		if err = write(args[1]); err == nil {
			err = os.Remove(args[1])
		}
	default:
		err = fmt.Errorf("there is no probe %q", args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// leave leaves a process of another session behind.
func leave() error {
	_, err := os.StartProcess("/proc/self/exe", []string{shimName, "probe", "stay"},
		&os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true}})
	return err
}

func write(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString("changed")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// change changes a file, adds one and removes both.
func change(path string) error {
	for _, name := range []string{path, filepath.Join(filepath.Dir(path), "other")} {
		if err := write(name); err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Dir(path))
}
