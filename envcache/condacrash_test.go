package envcache

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"agentctl/test/condakit"
)

// An agent is killed while packages are downloaded and linked: the client goes
// with it, and the next agent builds at the same place.
func TestKilledWhileCondaInstalls(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	asked, going := make(chan struct{}), make(chan struct{})
	var once sync.Once
	server := kit.Serve(t, &condakit.Server{Change: func(path string, data []byte) []byte {
		if strings.Contains(path, "/six-") {
			once.Do(func() { close(asked) })
			<-going
		}
		return data
	}})
	c := condaCache(t, SameUser, Options{})
	req := condaRequest(kit, server.Main()).conda("six")
	cmd := agent(t, os.Args[0], order{State: c.state, Request: req})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(2 * time.Minute):
		t.Error("nothing was downloaded")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	close(going)
	c, err := Open(c.state, Options{Getenv: environ(nil)})
	if err != nil {
		t.Fatal(err)
	}
	l := acquire(t, c, req)
	if l.Hit || python(t, l.Python, "-c", "import six; print(six.__version__)") != "1.17.0" {
		t.Fatalf("the half-made environment was leased: %+v", l)
	}
	if bad := litter(t, c.state); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
}

// Builds of one user share the packages; in other words and at once, each list is
// built once.
func TestCondaAtOnce(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{})
	c := condaCache(t, SameUser, Options{})
	var all sync.WaitGroup
	for _, spec := range []string{"six ==1.16.0", "six=1.16", "six <1.17", "six ==1.17.0", "six"} {
		all.Go(func() {
			l, err := c.Acquire(t.Context(), condaRequest(kit, server.Main()).conda(spec), nil)
			if err != nil {
				t.Errorf("%s: %v", spec, err)
				return
			}
			_ = l.Close()
		})
	}
	all.Wait()
	if entries, err := c.Entries(); err != nil || len(entries) != 2 {
		t.Fatalf("%d environments, %v", len(entries), err)
	}
	if n := server.Packages(); n != 3 {
		t.Errorf("%d packages were downloaded: %q", n, server.Asked())
	}
}
