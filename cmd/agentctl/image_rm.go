package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentctl/control"
	"agentctl/runtime/image"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) imageRm() *cobra.Command {
	return a.completeImages(&cobra.Command{
		Use: "rm IMAGE…", Short: "Remove images that nobody uses",
		Long: `Take names away from images. With its last name, or by its digest, an image goes
itself, and with it the layers that no other image has. One that is in use stays, and
the verb ends with 1.`,
		Example: "  agentctl image rm python:3.12-slim\n  agentctl image ls -o name | xargs agentctl image rm",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.removeImages(cmd.Context(), args) },
	})
}

func (a *app) removeImages(ctx context.Context, names []string) error {
	return a.withImages(ctx, registryFlags{}, false, func(s *image.Store) error {
		var failed error
		for _, n := range names {
			_, err := s.Find(n)
			failed = errors.Join(failed, err)
		}
		if failed != nil {
			return failed // a wrong name: nothing is removed
		}
		for _, n := range names {
			_, err := s.Remove(ctx, n)
			if errors.Is(err, image.ErrNotFound) { // it went with another name
				err = nil
			}
			if err == nil {
				fmt.Fprintln(a.Stdout, n)
			}
			failed = errors.Join(failed, err)
		}
		return failed
	})
}

func (a *app) imageGC() *cobra.Command {
	var f gcFlags
	cmd := &cobra.Command{
		Use: "gc", Short: "Remove images beyond the limits, the least recently used first",
		Long: `Remove images beyond the limits, and layers that no image has. The limits of the spec
in force hold, where an agent answers; flags replace them one by one. What a task
uses stays, and for room the last used image.`,
		Example: "  agentctl image gc\n  agentctl image gc --dry-run --max-age 30d\n  agentctl image gc --max-size 50Gi",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.collectImages(cmd, f) },
	}
	cmd.Flags().IntVar(&f.entries, "max-entries", 0, "images to keep at most; 0: no limit")
	cmd.Flags().Var(sizeValue{&f.size}, "max-size", "bytes to keep at most, as 50Gi; 0: no limit")
	cmd.Flags().Var(sizeValue{&f.free}, "min-free", "bytes that are to be free on the disk, as 5Gi; 0: no limit")
	cmd.Flags().Var(durationValue{&f.age}, "max-age", "longest time since the last use, as 30d; 0s: no limit")
	cmd.Flags().BoolVar(&f.dry, "dry-run", false, "remove nothing, say what would go")
	return cmd
}

func (a *app) collectImages(cmd *cobra.Command, f gcFlags) error {
	ctx := cmd.Context()
	keep, err := a.imageLimits(ctx, cmd.Flags(), f)
	if err != nil {
		return err
	}
	return a.withImages(ctx, registryFlags{}, false, func(s *image.Store) error {
		collect := lo.Ternary(f.dry, s.Preview, s.Collect)
		done, err := collect(ctx, keep)
		for _, digest := range done.Removed {
			fmt.Fprintln(a.Stdout, digest)
		}
		a.say("%s %s, %s; %d kept", lo.Ternary(f.dry, "would remove", "removed"), plural(len(done.Removed), "image"), bytesOf(done.Freed), done.Kept)
		return err
	})
}

// imageLimits are those of the spec in force, with what flags say in their place.
func (a *app) imageLimits(ctx context.Context, flags *pflag.FlagSet, f gcFlags) (image.Keep, error) {
	var keep image.Keep
	c := a.client()
	defer c.Close()
	snap, err := c.Status(ctx)
	switch {
	case err == nil && snap.Node != nil:
		keep = imageKeep(snap.Node.Spec.Sandbox, int64(snap.Node.Spec.Cache.MinFree))
	case err != nil && !errors.Is(err, control.ErrNoAgent):
		return keep, err
	}
	keep.Images = f.entries
	if flags.Changed("max-size") {
		keep.Bytes = int64(f.size)
	}
	if flags.Changed("min-free") {
		keep.Free = int64(f.free)
	}
	if flags.Changed("max-age") {
		keep.Age = time.Duration(f.age)
	}
	return keep, nil
}
