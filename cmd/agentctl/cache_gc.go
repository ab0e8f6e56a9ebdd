package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentctl/control"
	"agentctl/envcache"
	"agentctl/spec"
	"agentctl/worker"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// gcFlags are limits; what is not given comes from the spec.
type gcFlags struct {
	entries int
	size    spec.Size
	free    spec.Size
	age     spec.Duration
	dry     bool
}

func (a *app) cacheGC() *cobra.Command {
	var f gcFlags
	cmd := &cobra.Command{
		Use: "gc", Short: "Remove environments beyond the limits, the least recently used first",
		Long: `Remove environments beyond the limits, and what package managers downloaded and
nobody used for longer than --max-age. The limits of the spec in force hold, where
an agent answers; flags replace them one by one. What a task uses stays.`,
		Example: "  agentctl cache gc\n  agentctl cache gc --dry-run --max-age 30d\n  agentctl cache gc --max-size 50Gi",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.collect(cmd, f) },
	}
	cmd.Flags().IntVar(&f.entries, "max-entries", 0, "environments to keep at most; 0: no limit")
	cmd.Flags().Var(sizeValue{&f.size}, "max-size", "bytes to keep at most, as 50Gi; 0: no limit")
	cmd.Flags().Var(sizeValue{&f.free}, "min-free", "bytes that are to be free on the disk, as 5Gi; 0: no limit")
	cmd.Flags().Var(durationValue{&f.age}, "max-age", "longest time since the last use, as 30d; 0s: no limit")
	cmd.Flags().BoolVar(&f.dry, "dry-run", false, "remove nothing, say what would go")
	return cmd
}

func (a *app) collect(cmd *cobra.Command, f gcFlags) error {
	ctx := cmd.Context()
	lim, err := a.limits(ctx, cmd.Flags(), f)
	if err != nil {
		return err
	}
	return a.withCache(ctx, func(c *envcache.Cache, _ string) error {
		collect, did := c.Collect, "removed"
		if f.dry {
			collect, did = c.WouldCollect, "would remove"
		}
		done, err := collect(ctx, lim)
		for _, key := range done.Removed {
			fmt.Fprintln(a.Stdout, key)
		}
		a.say("%s %s, %s; %d kept", did, plural(len(done.Removed), "environment"), bytesOf(done.Freed), done.Kept)
		return err
	})
}

// limits are those of the spec in force, with what flags say in their place.
func (a *app) limits(ctx context.Context, flags *pflag.FlagSet, f gcFlags) (envcache.Limits, error) {
	given := func(name string) bool { return flags.Changed(name) }
	var lim envcache.Limits
	c := a.client()
	defer c.Close()
	s, err := c.Status(ctx)
	switch {
	case err == nil && s.Node != nil:
		lim = worker.Limits(s.Node.Spec.Cache)
	case err != nil && !errors.Is(err, control.ErrNoAgent):
		return lim, err
	case !given("max-entries") && !given("max-size") && !given("min-free") && !given("max-age"):
		return lim, usagef("no agent with a spec says which limits hold; give --max-entries, --max-size, --min-free or --max-age")
	}
	if given("max-entries") {
		lim.MaxEntries = f.entries
	}
	if given("max-size") {
		lim.MaxBytes = int64(f.size)
	}
	if given("min-free") {
		lim.MinFree = int64(f.free)
	}
	if given("max-age") {
		lim.MaxAge = time.Duration(f.age)
	}
	return lim, nil
}

// sizeValue is a flag that takes what node.yaml takes for a size.
type sizeValue struct{ size *spec.Size }

func (v sizeValue) String() string {
	if v.size == nil {
		return ""
	}
	return v.size.String()
}
func (sizeValue) Type() string { return "size" }
func (v sizeValue) Set(s string) (err error) {
	*v.size, err = spec.ParseSize(s)
	return err
}

// durationValue is a flag that takes what node.yaml takes for a length of time.
type durationValue struct{ d *spec.Duration }

func (v durationValue) String() string {
	if v.d == nil {
		return ""
	}
	return v.d.String()
}
func (durationValue) Type() string { return "duration" }
func (v durationValue) Set(s string) (err error) {
	*v.d, err = spec.ParseDuration(s)
	return err
}
