package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"agentctl/envcache"
	"agentctl/internal/fsx"
	"agentctl/worker"

	"github.com/spf13/cobra"
)

func (a *app) cacheExport() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use: "export KEY -o FILE|-", Short: "Write an environment to an archive, for another host",
		Long: `Write an environment with all that another host of the same kind needs to use it,
without a network: the same Python version (3.11 for 3.11) of the same ABI on the
same platform, with a C library that is not older. The state folder there may be
another. An environment that was changed since it was built is not exported.

The archive is a tar file, compressed by zstd. It holds no credentials; its lists
of packages and indexes are in it, and the code of private packages.`,
		Example: "  agentctl cache export 5d41402a -o env.tar.zst\n  agentctl cache export 5d41402a -o - | ssh gpu-08 agentctl cache import -",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.exportEnvironment(cmd.Context(), args[0], file)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "o", "", "the archive; - is the standard output")
	return a.completeKeys(cmd)
}

func (a *app) exportEnvironment(ctx context.Context, key, file string) error {
	switch {
	case file == "":
		return usagef("say where the archive goes: -o FILE, or -o - for the standard output")
	case file == "-" && terminal(a.Stdout):
		return usagef("an archive is not for a terminal; write -o FILE")
	}
	return a.withCache(ctx, func(c *envcache.Cache, _ string) error {
		sum := sha256.New()
		var done envcache.Exported
		write := func(w io.Writer) (err error) {
			done, err = c.Export(ctx, key, io.MultiWriter(w, sum))
			return err
		}
		var err error
		if file == "-" {
			err = write(a.Stdout)
		} else {
			err = fsx.ReplaceWith(file, 0o600, write)
		}
		if err == nil {
			a.exported(done, sum)
		}
		return err
	})
}

func (a *app) exported(done envcache.Exported, sum hash.Hash) {
	a.say("exported %s: %s, %s; sha256 %x", done.Key, plural(done.Files, "file"), bytesOf(done.Bytes), sum.Sum(nil))
	if !done.Tool {
		a.say("the pip that builds environments is not in it: the other host needs it, or an index to fetch it from")
	}
}

func (a *app) cacheImport() *cobra.Command {
	user, python := "", ""
	cmd := &cobra.Command{
		Use: "import FILE|-", Short: "Take an environment from an archive of another host",
		Long: `Make an environment of an archive that "agentctl cache export" wrote, and print its
key. Every file is checked against the digest that was taken when it was built, and
the task that had it there finds it here. What the archive holds will run in tasks:
import none that you do not trust.

The key is made for the user that tasks run as and for the Python that they get:
give --user where a worker has a runAs, --python where tasks name one.`,
		Example: "  agentctl cache import env.tar.zst\n  agentctl cache import --user train --python 3.11 env.tar.zst",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importEnvironment(cmd.Context(), args[0], user, python)
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "user that tasks with it run as (default the one that tasks run as here)")
	cmd.Flags().StringVar(&python, "python", "", "version or path of the Python that tasks get here (default what the archive needs)")
	return cmd
}

func (a *app) importEnvironment(ctx context.Context, file, user, python string) error {
	uid, gid, err := worker.TaskUser(user)
	if err != nil {
		return err
	}
	from := a.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("cannot read the archive: %w", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	state, err := a.cacheState(ctx)
	if err != nil {
		return err
	}
	if err := ownCache(state); err != nil && !errors.Is(err, errNoCache) {
		return err
	}
	return a.withState(state, func(c *envcache.Cache, _ string) error {
		say := func(p envcache.Progress) { a.say("%s", p) }
		l, err := c.Import(ctx, from, envcache.ImportOptions{Python: python, UID: uid, GID: gid}, say)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		if l.Hit {
			a.say("it is here already: %s", l.Why)
		}
		fmt.Fprintln(a.Stdout, l.Key)
		return nil
	})
}
