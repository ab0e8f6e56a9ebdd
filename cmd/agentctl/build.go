package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"agentctl/control"
	"agentctl/envcache"
	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
	"agentctl/internal/tree"
	"agentctl/runtime/image"
	"agentctl/spec"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

type buildFlags struct {
	id, target, image string
	python, entry     string
	config            string
	globally, force   bool
	registry          registryFlags
	agent             agentFlags
}

func (a *app) buildCmd() *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use: "build --id ID --target TARGET", Short: "Build what a task runs in, as a folder or as an image",
		Long: `Build the environment and the checkout of a task, with the very caches that tasks use,
and leave the task alone.

Without --docker the target is a new folder: venv/ with the packages, code/ with the
checkout and its uncommitted changes, or the script. With --docker both are layers on
top of the image, and the target is where that goes: NAME[:TAG] in a registry,
oci:FOLDER[:NAME], oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME]. Tasks whose
image it is find their environment there at once, if it was built for the same packages.
Only root can make an image, with an agent that is root.`,
		Example: "  agentctl build --id 3f2a91c0 --target ./job\n  agentctl build --id 3f2a91c0 --docker python:3.12-slim --target registry.example.com/team/job:1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			docker := cmd.Flags().Changed("docker") || f.force
			switch {
			case f.id == "":
				return usagef("name the task with --id")
			case f.target == "":
				return usagef("say with --target where it goes: a folder, or with --docker an image")
			case f.entry != "" && f.entry != "reuse_task":
				return usagef("--entry-point %s: the image can run the task itself (reuse_task); a copy is made by whoever enqueues it (agentctl execute --clone)", f.entry)
			case f.entry != "" && !docker:
				return usagef("--entry-point is of an image: add --docker")
			}
			if f.globally {
				a.say("--install-globally makes no difference: the environment is at the front of the image's PATH")
			}
			return a.build(cmd.Context(), f, docker)
		},
	}
	cmd.Flags().StringVar(&f.id, "id", "", "id of the task")
	cmd.Flags().StringVar(&f.target, "target", "", "where it goes")
	cmd.Flags().StringVar(&f.image, "docker", "", "build inside of this image, if the task names none (default the node's)")
	cmd.Flags().Lookup("docker").NoOptDefVal = " "
	cmd.Flags().BoolVar(&f.force, "force-docker", false, "as --docker, and what the task says of its container is left out of account")
	cmd.Flags().StringVar(&f.python, "python-version", "", "version of Python, as 3.12 (default the task's)")
	cmd.Flags().StringVar(&f.entry, "entry-point", "", "reuse_task: the image runs the task's script when it is started")
	cmd.Flags().BoolVar(&f.globally, "install-globally", false, "makes no difference")
	f.registry.add(cmd.Flags())
	configFlag(cmd, &f.config)
	a.agentOnlyFlags(cmd, &f.agent)
	noGitFlags(cmd)
	cmd.Flags().String("gpus", "", "makes no difference: nothing of the task runs")
	cmd.Flags().Bool("cpu-only", false, "makes no difference")
	cmd.Flags().String("log-level", "", "makes no difference")
	cmd.Flags().CountP("optimize", "O", "makes no difference: whoever starts the task says it")
	return cmd
}

func (a *app) build(ctx context.Context, f buildFlags, docker bool) (err error) {
	r := control.BuildRequest{Task: f.id, IgnoreContainer: f.force, Worker: spec.WorkerSpec{PackageManager: spec.PackageManager{Python: spec.Python{Default: f.python}}}}
	var to image.Reference
	if docker { // what can't be made is told before minutes are spent on it
		if to, err = image.ParseTarget(f.target); err != nil {
			return &usageError{err}
		}
		if os.Geteuid() != 0 {
			return errors.New("cannot make an image: only root can, and an agent that is root")
		}
		r.Worker.Mode, r.Worker.Image = spec.ModeSandbox, strings.TrimSpace(f.image)
	}
	c := a.client()
	defer c.Close()
	if err := a.ensureNode(ctx, c, f.agent, f.config); err != nil {
		return err
	}
	if docker {
		return a.buildImage(ctx, c, f, r, to)
	}
	return a.buildFolder(ctx, c, f.target, r)
}

// built has the parts of a task made, and keeps them from being collected until release.
func (a *app) built(ctx context.Context, c *control.Client, r control.BuildRequest) (b control.BuildReply, release func(), err error) {
	if b, err = c.Build(ctx, r); err != nil {
		return b, nil, a.explained(err)
	}
	if b.EnvKey != "" {
		a.say("environment %s: %s", b.EnvKey, map[bool]string{true: "was there", false: "built"}[b.Hit])
	}
	var held []func() error
	release = func() {
		for _, end := range held {
			_ = end() // a lock, which ends with this process
		}
	}
	for _, dir := range lo.Compact([]string{b.EnvPath, b.Checkout}) {
		l, err := shelf.Hold(dir)
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("it was removed again, to keep the cache within its limits (spec.cache)")
		}
		if err != nil {
			release()
			return b, nil, fmt.Errorf("cannot use %s: %w", dir, err)
		}
		held = append(held, l.Close)
	}
	return b, release, nil
}

// buildFolder copies the parts of a task into a new folder, and tells how to run it.
func (a *app) buildFolder(ctx context.Context, c *control.Client, target string, r control.BuildRequest) (err error) {
	state, err := a.cacheState(ctx)
	if err != nil {
		return err
	}
	// Before anything is made here: else the command that runs again would find it.
	if done, err := a.again(state); done {
		return err
	}
	if target, err = filepath.Abs(target); err != nil {
		return err
	}
	if err := os.Mkdir(target, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; name a folder that is not", target)
	} else if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tree.Remove(target))
		}
	}()
	b, release, err := a.built(ctx, c, r)
	if err != nil {
		return err
	}
	defer release()
	args, err := a.copyEnvironment(ctx, filepath.Join(target, "venv"), b)
	if err != nil {
		return err
	}
	code := filepath.Join(target, "code")
	if b.Checkout != "" {
		if err := tree.Copy(ctx, b.Checkout, code, -1, -1, nil); err != nil {
			return fmt.Errorf("cannot copy the checkout: %w", err)
		}
	}
	if err := writeScript(code, b); err != nil {
		return err
	}
	cwd := b.Dir // of this host, if it is a whole path
	if !filepath.IsAbs(cwd) {
		if cwd, err = fsx.SafeJoin(code, b.Dir); err != nil {
			return err
		}
	}
	// The words are the task's: a shell must not take them for anything else.
	a.say("built in %s; run it with: cd %s && %s", target, quote(cwd), strings.Join(quoted(args), " "))
	_, err = fmt.Fprintln(a.Stdout, target)
	return err
}

// copyEnvironment copies the environment of a task, if it has one, and gives the command
// by which the task runs in it.
func (a *app) copyEnvironment(ctx context.Context, to string, b control.BuildReply) (args []string, err error) {
	args = b.Args
	if b.EnvKey == "" {
		return args, nil
	}
	return args, a.withCache(ctx, func(c *envcache.Cache, _ string) error {
		child, err := c.CopyTo(ctx, b.EnvKey, to)
		if filepath.Dir(args[0]) == filepath.Join(b.EnvPath, "bin") { // else a shell runs it
			args = append([]string{child.Python}, args[1:]...)
		}
		return err
	})
}

// writeScript writes the text of a task's script, where that of its code is another.
func writeScript(code string, b control.BuildReply) error {
	if b.Literal == "" {
		return nil
	}
	if err := os.MkdirAll(code, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(code)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	name := filepath.Join(b.Dir, b.File)
	_ = root.Remove(name) // it may be read-only, or a link
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("cannot write the task's script: %w", err)
	}
	if err := root.WriteFile(name, []byte(b.Literal), 0o644); err != nil {
		return fmt.Errorf("cannot write the task's script: %w", err)
	}
	return nil
}
