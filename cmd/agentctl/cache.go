package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"agentctl/control"
	"agentctl/envcache"

	"github.com/spf13/cobra"
)

func (a *app) cacheCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cache", Short: "See, check, move and clear the environments that are kept",
		Long: `Work on the environments of a state folder: that of --state, else that of the
agent that answers, else the default one. An agent may be running or not: what a
task uses is never touched. The beginning of a key is enough where only one
environment begins so.`,
		Example: "  agentctl cache ls\n  agentctl cache why 3f2a91c0\n  agentctl cache export 5d41402a -o env.tar.zst",
	}
	cmd.AddCommand(a.cacheLs(), a.cacheShow(), a.cacheWhy(), a.cacheVerify(), a.cacheGC(), a.cacheRm(), a.cacheExport(), a.cacheImport())
	return group(cmd)
}

// cacheState finds the state folder whose environments are meant.
func (a *app) cacheState(ctx context.Context) (string, error) {
	if a.stateGiven {
		return a.state, nil
	}
	c := a.client()
	defer c.Close()
	who, err := c.Agent(ctx)
	switch {
	case err == nil:
		return who.State, nil
	case errors.Is(err, control.ErrNoAgent):
		return a.state, nil
	}
	return "", err
}

// errNoCache means that no environment was ever built in a state folder.
var errNoCache = errors.New("no environments are kept")

// withCache opens the environments of the state folder. It creates nothing, so
// that a wrong folder is told from an empty cache.
func (a *app) withCache(ctx context.Context, do func(c *envcache.Cache, state string) error) error {
	state, err := a.cacheState(ctx)
	if err == nil {
		err = ownCache(state)
	}
	if err != nil {
		return err
	}
	return a.withState(state, do)
}

// withState opens the environments of a state folder, which is made if need be.
func (a *app) withState(state string, do func(c *envcache.Cache, state string) error) error {
	if done, err := a.again(state); done {
		return err
	}
	c, err := envcache.Open(state, envcache.Options{Getenv: a.Getenv})
	if err != nil {
		return err
	}
	return errors.Join(do(c, state), c.Close())
}

// ownCache makes sure that this is the user whose agent keeps the environments.
func ownCache(state string) error {
	there, err := ownFolder(state, "envs", "environments")
	if err == nil && !there {
		err = fmt.Errorf("%w: there are none in %s", errNoCache, state)
	}
	return err
}

// ownFolder tells whether a folder of the state folder is there, and fails if it
// belongs to another user: what another one, even root, creates in it the agent could not
// open.
func ownFolder(state, name, holds string) (bool, error) {
	info, err := os.Stat(filepath.Join(state, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, fs.ErrPermission):
		return false, fmt.Errorf("cannot read %s: permission denied; run this as the user of the agent", state)
	case err != nil:
		return false, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return false, fmt.Errorf("the %s in %s belong to the user with id %d: run this as that user", holds, state, st.Uid)
	}
	return true, nil
}

// findEntries finds environments by their keys or the beginnings of them.
func findEntries(c *envcache.Cache, keys []string) ([]envcache.Entry, error) {
	var found []envcache.Entry
	var failed error
	for _, key := range keys {
		e, err := c.Find(key)
		found, failed = append(found, e), errors.Join(failed, err)
	}
	return found, failed
}

// completeKeys completes the keys of environments, and what else can stand there.
func (a *app) completeKeys(cmd *cobra.Command, more ...func(state string) []string) *cobra.Command {
	cmd.ValidArgsFunction = func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if err := a.fromEnviron(c.Flags()); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var words []string
		err := a.withCache(c.Context(), func(cache *envcache.Cache, state string) error {
			entries, err := cache.Entries()
			for _, e := range entries {
				words = append(words, fmt.Sprintf("%s\t%s %s, %d packages", e.Key, e.Manager, e.Python, len(e.Frozen)))
			}
			for _, m := range more {
				words = append(words, m(state)...)
			}
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return slices.DeleteFunc(words, func(w string) bool { return !strings.HasPrefix(w, begun) }), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}
