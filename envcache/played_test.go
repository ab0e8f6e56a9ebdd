package envcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/samber/lo"

	"agentctl/internal/crash"
)

// childVar holds the order of an agent that this test's program plays.
const childVar = "ENVCACHE_TEST_AGENT"

// order is what a played agent has to do.
type order struct {
	State   string
	Request Request
	// Import takes the environment from an archive, in place of a request.
	Import string
	// Other asks for the same packages in other words, where it is to live a whole life.
	Other Request
	Life  bool
	// Python is to be found, by an agent that sees none but those that were installed.
	Python PythonWish
	// Stress, in place of all that.
	Stress *stress
}

// playAgent plays an agent, which acquires an environment and prints "built KEY" or
// "hit KEY".
func playAgent() {
	var o order
	err := json.Unmarshal([]byte(os.Getenv(childVar)), &o)
	if err == nil {
		err = o.play()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (o order) play() error {
	c, err := Open(o.State, Options{Getenv: environ(nil)})
	switch {
	case err != nil:
		return err
	case o.Stress != nil:
		return o.Stress.play(c)
	case o.Life:
		return o.live(c)
	case o.Import != "":
		return o.take(c)
	case o.Python.Version != "":
		c.finder = blindFinder(c.state, HostExec{})
		_, _, err := c.Python(context.Background(), o.Python, o.Request, nil)
		return err
	}
	_, err = lease(c, o.Request)
	return err
}

func (o order) take(c *Cache) error {
	f, err := os.Open(o.Import)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	l, err := c.Import(context.Background(), f, ImportOptions{UID: o.Request.UID, GID: o.Request.GID}, nil)
	if err != nil {
		return err
	}
	return l.Close()
}

func lease(c *Cache, req Request) (key string, err error) {
	l, err := c.Acquire(context.Background(), req, nil)
	if err != nil {
		return "", err
	}
	fmt.Println(map[bool]string{true: "hit", false: "built"}[l.Hit], l.Key)
	return l.Key, l.Close()
}

// live passes every step that there is to die at.
func (o order) live(c *Cache) error {
	for _, req := range []Request{o.Request, o.Other} {
		if _, err := lease(c, req); err != nil {
			return err
		}
	}
	err := errors.Join(c.users.Unlock(), anotherUptime(o.State))
	if err != nil {
		return err
	}
	if c, err = Open(o.State, Options{Getenv: environ(nil)}); err != nil {
		return err
	}
	key, err := lease(c, o.Request)
	crash.Point("test.leased")
	return errors.Join(err, c.Discard(context.Background(), key), c.Close())
}

func agent(t *testing.T, program string, o order, env ...string) *exec.Cmd {
	t.Helper()
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(append(os.Environ(), childVar+"="+string(data)), env...)
	return cmd
}

// crashing is this test's program with crash points, built once.
func crashing(t *testing.T) string {
	t.Helper()
	crasher.once.Do(func() {
		if crasher.dir, crasher.err = os.MkdirTemp("", "accrash"); crasher.err != nil {
			return
		}
		cmd := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", filepath.Join(crasher.dir, "crashing"), ".")
		if out, err := cmd.CombinedOutput(); err != nil {
			crasher.err = fmt.Errorf("cannot build with crash points: %w\n%s", err, out)
		}
	})
	if crasher.err != nil {
		t.Fatal(crasher.err)
	}
	return filepath.Join(crasher.dir, "crashing")
}

// stepsOf lists the steps that a trace names, each once.
func stepsOf(t *testing.T, trace string) []string {
	t.Helper()
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	return lo.Uniq(strings.Fields(string(data)))
}

func wasKilled(err error) bool {
	var failed *exec.ExitError
	return errors.As(err, &failed) && failed.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

var stepInSource = regexp.MustCompile(`(crash\.Point|s\.point)\("([a-z.]+)"\)`)

// namedSteps lists the steps that the source of this package and of the shelf names.
func namedSteps(t *testing.T) (steps []string) {
	t.Helper()
	for _, pattern := range []string{"*.go", "../internal/shelf/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range stepInSource.FindAllStringSubmatch(string(text), -1) {
				steps = append(steps, map[string]string{"s.point": "env."}[m[1]]+m[2])
			}
		}
	}
	if len(steps) < 20 {
		t.Fatalf("only %q", steps)
	}
	return steps
}
