// Command env measures how environments are built and handed over: for sets of
// packages of three sizes, agentctl with each manager beside that manager alone
// and beside the real clearml-agent, all in one run. Three things are measured:
// cold (no download is cached), warm (all downloads are cached) and a hit (the
// environment is there). Bytecode is compiled by all.
//
//	go run ./test/bench/env [-sets small,medium,large] [-rounds N] [-only NAME,…]
//
// Wall time and CPU seconds, of the manager's processes too, go to .cache/bench as
// a table and a plot.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/samber/lo"

	"agentctl/envcache"
)

// set is a list of packages, all pinned, so that every contender gets the same.
type set struct {
	name     string
	packages []string
}

var sets = []set{
	{"small", []string{"requests==2.32.3", "PyYAML==6.0.2"}},
	{"medium", []string{"numpy==2.1.3", "pandas==2.2.3", "scikit-learn==1.5.2", "matplotlib==3.9.2"}},
	{"large", []string{"tensorflow-cpu==2.18.0"}},
}

func main() {
	names := flag.String("sets", "small,medium", "sets of packages: small (10 MB), medium (460 MB), large (1.5 GB)")
	rounds := flag.Int("rounds", 3, "times that each thing is measured")
	only := flag.String("only", "", "contenders, as agentctl/pip,pip; empty: all")
	out := flag.String("out", ".cache/bench", "folder of the table, the plot and the peers' programs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*names, ","), *rounds, split(*only), *out); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func run(ctx context.Context, names []string, rounds int, only []string, out string) error {
	// Every user of a task passes through it, so not the private default of MkdirTemp.
	dir, err := os.MkdirTemp("", "agentctl-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	place, err := newPlace(ctx, dir, out)
	if err != nil {
		return err
	}
	defer place.close()
	r := &results{rounds: rounds}
	chosen := lo.Filter(place.contenders(), func(c contender, _ int) bool { return len(only) == 0 || slices.Contains(only, c.name()) })
	for _, s := range sets {
		if !slices.Contains(names, s.name) {
			continue
		}
		if err := measure(ctx, r, s, chosen); err != nil {
			return err
		}
	}
	return r.write(out)
}

// contender builds a set of packages in its own way.
type contender interface {
	name() string
	// prepare does what is not measured: it happens once in a host's life.
	prepare(ctx context.Context, s set) error
	// clear removes what was built, and if fresh all downloads. It is not measured.
	clear(fresh bool) error
	// build makes the environment of s from nothing.
	build(ctx context.Context, s set) error
	// hit gives what build made last once more, and says how; "" if it knows no hits.
	hit(ctx context.Context, s set) (how string, err error)
}

// hits is how often a hit is measured in a round: it is short.
const hits = 7

// measure measures all contenders with one set, turn and turn about: a machine is
// not as fast in one minute as in the next. A cold build comes first, whose
// downloads the warm ones find.
func measure(ctx context.Context, r *results, s set, all []contender) error {
	for _, c := range all {
		if err := c.prepare(ctx, s); err != nil {
			return fmt.Errorf("cannot prepare %s: %w", c.name(), err)
		}
	}
	for round := range r.rounds + 1 {
		kind := warm
		if round == 0 {
			kind = cold // once: the network decides more than the contender does
		}
		for _, c := range all {
			fmt.Fprintf(os.Stderr, "%s, %s, %s …\n", s.name, c.name(), kind)
			if err := c.clear(kind == cold); err != nil {
				return err
			}
			took, err := timed(func() error { return c.build(ctx, s) })
			if err != nil {
				return fmt.Errorf("cannot measure %s with %s: %w", c.name(), s.name, err)
			}
			r.add(s.name, c.name(), kind, took)
		}
	}
	for _, c := range all {
		if err := measureHits(ctx, r, s, c); err != nil {
			return fmt.Errorf("cannot measure %s with %s: %w", c.name(), s.name, err)
		}
	}
	return nil
}

func measureHits(ctx context.Context, r *results, s set, c contender) error {
	for range hits {
		how := ""
		took, err := timed(func() (err error) { how, err = c.hit(ctx, s); return err })
		if err != nil {
			return err
		}
		if how == "" {
			return nil
		}
		r.add(s.name, c.name(), how, took)
	}
	own, ok := c.(*ours)
	if !ok || own.manager != envcache.ManagerPip {
		return nil // what follows is the same for each manager
	}
	if err := own.handover(ctx, r, s); err != nil {
		return err
	}
	return own.fill(ctx, r, s)
}
