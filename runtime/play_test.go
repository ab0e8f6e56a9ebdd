package runtime

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// play is a task, or an agent, of the tests: the test binary started as
// `self play NAME ARGS`.
func play(name string, args []string) int {
	switch name {
	case "nasty":
		return nasty(args)
	case "hide-away":
		return hideAway(args)
	case "shared-host":
		return sharedHost(args)
	case "agent":
		return agent(args)
	case "as-user":
		return asUser(args)
	case "in-range":
		return inRange(args)
	case "stay":
		return stay(args)
	}
	fmt.Fprintln(os.Stderr, "no such play:", name)
	return 2
}

// nasty forks twice, each time into a session of its own, and leaves behind a
// process that ignores what can be ignored. With "stay" it does not end itself.
func nasty(args []string) int {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	if err := again("hide-away", args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if len(args) > 1 && args[1] == "stay" {
		time.Sleep(time.Hour)
	}
	return 7
}

func hideAway(args []string) int {
	if err := again("stay", args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func stay(args []string) int {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	fmt.Println("staying", args[0])
	time.Sleep(time.Hour)
	return 0
}

func again(name string, args []string) error {
	p, err := os.StartProcess("/proc/self/exe", append([]string{os.Args[0], "play", name}, args...), &os.ProcAttr{
		Files: []*os.File{nil, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err == nil && name == "hide-away" {
		_, err = p.Wait()
	}
	return err
}
