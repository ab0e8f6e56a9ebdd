//go:build bench

package box

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"agentctl/test/imagekit"
)

var (
	rounds = flag.Int("rounds", 20, "starts of each command by each program, turn and turn about")
	idle   = flag.Int("idle", 5, "sandboxes that do nothing, whose memory is measured")
	many   = flag.Int("many", 50, "sandboxes that are started at once; 0 for none")
	only   = flag.String("who", "", "programs that take part, by parts of their names, with commas; all if empty")
)

func cpus() int { return runtime.NumCPU() }

var (
	truth  = []string{"/bin/true"}
	python = []string{"/usr/bin/python3", "-c", "print(1, flush=True)"}
	// Podman's own are higher than what root may give itself on some machines.
	ulimits = []string{"--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"}
	stays   = []string{"/bin/sh", "-c", "echo ready; exec sleep 1000"}
)

// contestants are those that can take part here, with the image in place.
func contestants(t *testing.T) []contestant {
	t.Helper()
	dir := scratch(t)
	img := imagekit.Debian(t)
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit/debian:1", img)
	root := plainRoot(t, dir, img)
	o := newOurs(t, dir, r.Host(), ref)
	all := []contestant{o.ahead(), o.cold()}
	if have(t, "gcc") {
		all = append(all, floor(t, dir, root))
	}
	if have(t, "bwrap") {
		all = append(all, bubblewrap(root))
	}
	for _, name := range []string{"crun", "runc"} {
		if have(t, name) {
			all = append(all, ociRuntime(name, dir, root))
		}
	}
	t.Cleanup(func() { quietly("sh", "-c", "rmdir /sys/fs/cgroup/agentctl-box /sys/fs/cgroup/*/agentctl-box") })
	if podman := startPodman(t, dir); podman != nil && wanted("podman") {
		loud(t, append(podman, "pull", "-q", "--tls-verify=false", ref)...)
		c := engine("podman", podman, ref, nil, ulimits...)
		c.few = true // that of Debian 12 waits for ever for locks where fifty start at once
		all = append(all, c)
	}
	if wanted("docker") {
		if docker, daemons := startDocker(t, dir); docker != nil {
			loud(t, append(docker, "pull", "-q", ref)...)
			all = append(all, engine("docker", docker, ref, daemons))
		}
	}
	return slices.DeleteFunc(all, func(c contestant) bool { return !wanted(c.name) || !works(t, c) })
}

func wanted(name string) bool {
	return *only == "" || slices.ContainsFunc(strings.Split(*only, ","), func(part string) bool { return strings.Contains(name, part) })
}

// works tells whether a contestant can run anything here. Ours must.
func works(t *testing.T, c contestant) bool {
	t.Helper()
	_, _, err := once(t, c, "try-"+slug(c.name), python)
	if err == nil {
		return true
	}
	if strings.HasPrefix(c.name, "agentctl") {
		t.Fatal(err)
	}
	fmt.Printf("left out: %s: %v\n", c.name, err)
	return false
}

func slug(name string) string { return strings.Map(keep, name) }

func keep(r rune) rune {
	if r >= 'a' && r <= 'z' {
		return r
	}
	return -1
}

// once runs a command and measures it.
func once(t *testing.T, c contestant, id string, args []string) (first, end time.Duration, err error) {
	start := c.ready(t, id, args)
	began := time.Now()
	r, err := start()
	if err != nil {
		return 0, 0, err
	}
	said := r.first() // io.EOF for what says nothing
	first = time.Since(began)
	if err = r.wait(); err == nil && !errors.Is(said, io.EOF) {
		err = said
	}
	return first, time.Since(began), err
}

// result is what was measured of one contestant.
type result struct {
	truth, first []time.Duration
	memory       []process // of all idle ones
	daemons      []process
	many         time.Duration
	manyMemory   int64 // of the processes
	manyLost     int64 // of the machine's available memory
}

// TestSandboxStart prints the whole table. A number that is worse than the goal is no
// failure: machines differ. What fails is a sandbox that does not run.
func TestSandboxStart(t *testing.T) {
	all := contestants(t)
	results := map[string]*result{}
	for _, c := range all {
		results[c.name] = &result{}
	}
	for n := range *rounds {
		for _, c := range all {
			r := results[c.name]
			_, end, err := once(t, c, fmt.Sprintf("true-%s-%d", slug(c.name), n), truth)
			must(t, err)
			first, _, err := once(t, c, fmt.Sprintf("python-%s-%d", slug(c.name), n), python)
			must(t, err)
			r.truth, r.first = append(r.truth, end), append(r.first, first)
		}
	}
	for _, c := range all {
		results[c.name].stay(t, c)
	}
	report(all, results)
}

// stay measures what does nothing, and many at once.
func (r *result) stay(t *testing.T, c contestant) {
	t.Helper()
	boxes, _, _, err := several(t, c, "idle", *idle)
	must(t, err)
	r.memory = trees(pidsOf(boxes))
	if c.daemons != nil {
		r.daemons = trees(c.daemons())
	}
	killAll(boxes)
	if *many == 0 || c.few {
		return
	}
	boxes, r.many, r.manyLost, err = several(t, c, "many", *many)
	r.manyMemory = sum(trees(pidsOf(boxes)))
	killAll(boxes)
	if err != nil {
		fmt.Printf("%s: not all of %d came to say something: %v\n", c.name, *many, err)
		r.many = 0
		if strings.HasPrefix(c.name, "agentctl") {
			t.Error(err)
		}
	}
}

// several starts sandboxes at once and waits until each has said something.
func several(t *testing.T, c contestant, what string, count int) (boxes []*running, took time.Duration, lost int64, err error) {
	t.Helper()
	var starts []func() (*running, error)
	for n := range count {
		starts = append(starts, c.ready(t, fmt.Sprintf("%s-%s-%d", what, slug(c.name), n), stays))
	}
	var (
		mu sync.Mutex
		g  errgroup.Group
	)
	before, began := available(), time.Now()
	for _, start := range starts {
		g.Go(func() error {
			r, err := start()
			if err != nil {
				return err
			}
			mu.Lock()
			boxes = append(boxes, r)
			mu.Unlock()
			return r.first()
		})
	}
	err = g.Wait()
	return boxes, time.Since(began), before - available(), err
}

func pidsOf(boxes []*running) (pids []int) {
	for _, b := range boxes {
		pids = append(pids, b.pids()...)
	}
	return pids
}

func killAll(boxes []*running) {
	var g errgroup.Group
	g.SetLimit(8)
	for _, b := range boxes {
		g.Go(func() error {
			b.kill()
			return nil
		})
	}
	_ = g.Wait()
}

func sum(all []process) (bytes int64) {
	for _, p := range all {
		bytes += p.pss
	}
	return bytes
}
