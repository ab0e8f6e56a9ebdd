package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"agentctl/control"
	"agentctl/envcache"
	"agentctl/internal/fsx"
	"agentctl/internal/tree"
	"agentctl/spec"

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
image it is find their environment there at once, if it was built for the same packages.`,
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

func (a *app) build(ctx context.Context, f buildFlags, docker bool) error {
	w := spec.WorkerSpec{PackageManager: spec.PackageManager{Python: spec.Python{Default: f.python}}}
	if docker {
		w.Mode, w.Image = spec.ModeSandbox, strings.TrimSpace(f.image)
	} else if _, err := os.Lstat(f.target); err == nil {
		return fmt.Errorf("%s is there already; name a folder that is not", f.target)
	}
	c := a.client()
	defer c.Close()
	if err := a.ensureNode(ctx, c, f.agent, f.config); err != nil {
		return err
	}
	b, err := c.Build(ctx, control.BuildRequest{Task: f.id, Worker: w, IgnoreContainer: f.force})
	if err != nil {
		return a.explained(err)
	}
	if b.EnvKey != "" {
		a.say("environment %s: %s", b.EnvKey, map[bool]string{true: "was there", false: "built"}[b.Hit])
	}
	if docker {
		return a.buildImage(ctx, f, b)
	}
	target, err := filepath.Abs(f.target)
	if err != nil {
		return err
	}
	if err := a.buildFolder(ctx, target, b); err != nil {
		return errors.Join(err, tree.Remove(target))
	}
	return nil
}

// buildFolder copies the parts of a task into a new folder, and tells how to run it.
func (a *app) buildFolder(ctx context.Context, target string, b control.BuildReply) error {
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	args := b.Args
	if b.EnvKey != "" {
		err := a.withCache(ctx, func(c *envcache.Cache, _ string) error {
			child, err := c.CopyTo(ctx, b.EnvKey, filepath.Join(target, "venv"))
			if filepath.Dir(args[0]) == filepath.Join(b.EnvPath, "bin") { // else a shell runs it
				args = append([]string{child.Python}, args[1:]...)
			}
			return err
		})
		if err != nil {
			return err
		}
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
		var err error
		if cwd, err = fsx.SafeJoin(code, b.Dir); err != nil {
			return err
		}
	}
	a.say("built in %s; run it with: cd %s && %s", target, cwd, strings.Join(args, " "))
	_, err := fmt.Fprintln(a.Stdout, target)
	return err
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
