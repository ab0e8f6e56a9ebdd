// Program probe is what there is to run in the tiny image of imagekit: static, and
// able to say what it sees.
//
//	probe true | exit N | print WORD… | env | see | cat FILE… | sleep SECONDS
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("say what to do")
	}
	switch what, args := args[0], args[1:]; what {
	case "true":
	case "exit":
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		os.Exit(n)
	case "print":
		for _, a := range args {
			fmt.Println(a)
		}
	case "env":
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
	case "see":
		return see()
	case "cat":
		for _, a := range args {
			data, err := os.ReadFile(a)
			if err != nil {
				return err
			}
			_, _ = os.Stdout.Write(data)
		}
	case "sleep":
		n, err := strconv.ParseFloat(args[0], 64)
		if err != nil {
			return err
		}
		time.Sleep(time.Duration(n * float64(time.Second)))
	default:
		return fmt.Errorf("unknown: %s", what)
	}
	return nil
}

// see prints what this process is, as JSON.
func see() error {
	host, _ := os.Hostname()
	folder, _ := os.Getwd()
	var top []string
	files, _ := os.ReadDir("/")
	for _, f := range files {
		top = append(top, f.Name())
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"pid": os.Getpid(), "uid": os.Getuid(), "gid": os.Getgid(), "host": host, "folder": folder, "top": top, "args": os.Args, "env": os.Environ(),
	})
}
