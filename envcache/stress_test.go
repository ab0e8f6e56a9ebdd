package envcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samber/lo"
	"golang.org/x/sync/errgroup"

	"agentctl/internal/crash"
)

// stress orders a played agent to have several workers do at random what agents do.
type stress struct {
	Seed    uint64
	Workers int
	Steps   int // of each worker
	Witness string
	// Remove has environments collected and thrown away, too.
	Remove bool
}

// stressWords are lists of packages: some of other words for the same packages.
var stressWords = [][]string{
	{"a"}, {"a==1.0"}, {"a>=1"}, {"a~=1.0"}, {"b"}, {"b==1.0"}, {"a", "b"}, {"a==1.0", "b==1.0"}, {"b>0", "a!=2"}, {"c==1.0"},
}

// play is the life of the agent. It prints a line for each environment it built.
func (s *stress) play(c *Cache) error {
	c.builders[quickManager] = &quickBuilder{witness: s.Witness}
	ctx, cancel := context.WithTimeoutCause(context.Background(), 2*time.Minute, errors.New(violation+": the agent hangs"))
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for w := range s.Workers {
		g.Go(func() error {
			random := rand.New(rand.NewPCG(s.Seed, uint64(w)))
			for range s.Steps {
				if err := s.step(ctx, c, random); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), c.Close())
}

func (s *stress) step(ctx context.Context, c *Cache, random *rand.Rand) error {
	if !s.Remove {
		return s.lease(ctx, c, random)
	}
	switch random.IntN(12) {
	case 0:
		_, err := c.Collect(ctx, Limits{MaxEntries: 1 + random.IntN(2)})
		return err
	case 1:
		_, err := c.Recheck(ctx)
		return err
	case 2:
		entries, err := c.Entries()
		if err != nil || len(entries) == 0 {
			return err
		}
		return c.Discard(ctx, entries[random.IntN(len(entries))].Key)
	}
	return s.lease(ctx, c, random)
}

// lease leases one environment and looks at it twice: at once, and after a while in
// which others did what they do.
func (s *stress) lease(ctx context.Context, c *Cache, random *rand.Rand) error {
	words := stressWords[random.IntN(len(stressWords))]
	l, err := c.Acquire(ctx, quickRequest(words...), nil)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if !l.Hit {
		fmt.Println("built", strings.Join(l.Lock.Packages, " "))
	}
	crash.Point("test.leased")
	if err := quickCheck(ctx, c, l, words); err != nil {
		return err
	}
	if _, err := c.Entries(); err != nil {
		return err
	}
	return quickCheck(ctx, c, l, words)
}

// stressed is a state folder for such agents.
type stressed struct {
	state, witness string
}

func newStressed(t *testing.T) stressed {
	t.Helper()
	return stressed{newState(t), newState(t)}
}

func (x stressed) order(seed uint64, workers, steps int, remove bool) order {
	return order{State: x.state, Stress: &stress{seed, workers, steps, x.witness, remove}}
}

func (x stressed) open(t *testing.T) *Cache {
	t.Helper()
	c, err := Open(x.state, Options{Getenv: environ(nil)})
	if err != nil {
		t.Fatal(err)
	}
	c.builders[quickManager] = &quickBuilder{witness: x.witness}
	return c
}

// sound checks what the next agent finds: no litter, and for every list of packages
// an environment that is as it was built.
func (x stressed) sound(t *testing.T) {
	t.Helper()
	noProcesses(t, x.state)
	c := x.open(t)
	defer func() { _ = c.Close() }()
	if bad := litter(t, x.state); bad != nil {
		t.Fatalf("left over: %q", bad)
	}
	for _, words := range stressWords {
		l, err := c.Acquire(t.Context(), quickRequest(words...), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := quickCheck(t.Context(), c, l, words); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	if _, err := c.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if bad := litter(t, x.state); bad != nil {
		t.Fatalf("left over: %q", bad)
	}
}

// Two agents with four workers each want the same packages by the same and by other
// words at once: each set is built once.
func TestManyWantTheSame(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		x := newStressed(t)
		var outs [2][]byte
		var agents sync.WaitGroup
		for i := range outs {
			agents.Go(func() {
				var err error
				if outs[i], err = agent(t, os.Args[0], x.order(2*seed+uint64(i), 4, 20, false)).CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, outs[i])
				}
			})
		}
		agents.Wait()
		times := lo.CountValues(strings.Split(strings.TrimSpace(string(bytes.Join(outs[:], nil))), "\n"))
		if len(times) < 4 {
			t.Errorf("seed %d: only %d sets of packages were built", seed, len(times))
		}
		for what, n := range times {
			if n != 1 {
				t.Errorf("seed %d: %s %d times", seed, what, n)
			}
		}
		x.sound(t)
	}
}

// Two agents with four workers each do what agents do and are killed at random
// steps, over and over in the same folder.
func TestAgentsKilledAtRandom(t *testing.T) {
	t.Parallel()
	bin := crashing(t)
	x := newStressed(t)
	trace := filepath.Join(t.TempDir(), "trace")
	if out, err := agent(t, bin, x.order(1, 4, 30, true), "AGENTCTL_CRASH_TRACE="+trace).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	points := stepsOf(t, trace)
	if len(points) < 15 {
		t.Fatalf("only the steps %q", points)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	killed := 0
	for round := range killings {
		if random.IntN(4) == 0 {
			if err := anotherUptime(x.state); err != nil {
				t.Fatal(err)
			}
		}
		var agents sync.WaitGroup
		cmds := make([]*exec.Cmd, 2)
		for i := range cmds {
			at := fmt.Sprintf("%s#%d", points[random.IntN(len(points))], 1+random.IntN(3))
			cmds[i] = agent(t, bin, x.order(random.Uint64(), 4, 8, true), "AGENTCTL_CRASH_AT="+at)
			agents.Go(func() {
				if out, err := cmds[i].CombinedOutput(); err != nil && !wasKilled(err) {
					t.Errorf("round %d, killed at %s: %v\n%s", round, at, err, out)
				}
			})
		}
		agents.Wait()
		for _, cmd := range cmds {
			if !cmd.ProcessState.Success() {
				killed++
			}
		}
		if t.Failed() {
			return
		}
		x.sound(t)
	}
	if killed < killings/2 {
		t.Errorf("only %d agents were killed in %d rounds", killed, killings)
	}
}
