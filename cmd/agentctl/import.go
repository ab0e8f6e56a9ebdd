package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"agentctl/internal/fsx"
	"agentctl/migrate"
	"agentctl/spec"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

// importFlags are those of `agentctl import`.
type importFlags struct {
	output, credentials string
	env, docker         bool
	queues              []string
}

func (a *app) importCmd() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use: "import [FILE]", Short: "Translate the clearml.conf of clearml-agent into a commented node.yaml",
		Long: `Translate the clearml.conf of clearml-agent into a commented node.yaml.

Without FILE it is read what clearml-agent would read: the folder CLEARML_CONFIG_PATH,
and CLEARML_CONFIG_FILE or else ~/trains.conf and ~/clearml.conf. Each key is carried
over, or told of with the reason; docs/migrating.md lists them all. Secrets go to
files that only their owner reads, and node.yaml names those. Nothing that is there
is overwritten. A file that is HOCON, not JSON, is read by pyhocon, which is fetched
once from the package index of pip's settings.`,
		Example: "  agentctl import\n  agentctl import --queue default --docker -o /etc/agentctl/node.yaml\n  agentctl import ~/clearml.conf -o - | less",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runImport(cmd.Context(), one(args), f) },
	}
	cmd.Flags().StringVarP(&f.output, "output", "o", "node.yaml", "file to write; - prints it and writes no secrets")
	cmd.Flags().StringVar(&f.credentials, "credentials-dir", "", "folder for the files of secrets (default /etc/agentctl, or agentctl in $XDG_CONFIG_HOME)")
	cmd.Flags().BoolVar(&f.env, "env", false, "carry over the variables of this environment too, which count over the file")
	cmd.Flags().StringArrayVar(&f.queues, "queue", nil, "queue that clearml-agent was started with (repeatable; default the queue default)")
	cmd.Flags().BoolVar(&f.docker, "docker", false, "clearml-agent was started with --docker: tasks run in sandboxes")
	return cmd
}

func (a *app) runImport(ctx context.Context, file string, f importFlags) error {
	if f.output != "-" {
		if _, err := os.Lstat(f.output); err == nil {
			return fmt.Errorf("%s is there already and is not overwritten; name another file by -o, or - to print", f.output)
		}
	}
	dir, err := filepath.Abs(either(f.credentials, a.configFolder()))
	if err != nil {
		return err
	}
	parts, from, err := a.confParts(file)
	if err != nil {
		return err
	}
	conf, err := a.readConf(ctx, parts)
	if err != nil {
		return err
	}
	var variables []string
	if f.env {
		variables = os.Environ()
	}
	res, err := migrate.Node(conf, variables, migrate.Options{
		Path:   func(name string) string { return filepath.Join(dir, name) },
		Queues: f.queues, Sandbox: f.docker, GPUs: hasGPUs(ctx),
	})
	if err != nil {
		return fmt.Errorf("cannot translate %s: %w", from, err)
	}
	text, err := res.YAML(from)
	if err != nil {
		return fmt.Errorf("cannot translate %s: %w", from, err)
	}
	if f.output == "-" {
		_, err := a.Stdout.Write(text)
		a.sayImported(res)
		return err
	}
	return a.writeImported(f.output, dir, text, res)
}

// writeImported writes the secrets before the file that names them.
func (a *app) writeImported(path, dir string, text []byte, res migrate.Result) error {
	for _, s := range res.Secrets {
		if err := writeSecret(filepath.Join(dir, s.Name), s.Content); err != nil {
			return fmt.Errorf("cannot write the secrets: %w", err)
		}
		a.say("wrote %s, which only its owner may read", filepath.Join(dir, s.Name))
	}
	if err := createNew(path, text); err != nil {
		return fmt.Errorf("cannot write the spec: %w", err)
	}
	schema := filepath.Join(filepath.Dir(path), schemaFile)
	if err := createNew(schema, spec.Schema()); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot write the schema: %w", err)
	}
	a.sayImported(res)
	a.say("wrote %s; look at it, then: agentctl apply %s", path, path)
	return nil
}

// sayImported tells what an operator has to know.
func (a *app) sayImported(res migrate.Result) {
	count := lo.CountValuesBy(res.Notes, func(n migrate.Note) migrate.Verdict { return n.Verdict })
	for _, n := range res.Notes {
		if a.verbose || n.Verdict == migrate.Refused || n.Verdict == migrate.Unknown {
			a.say("%s", n)
		}
	}
	a.say("%s carried over, %d without an effect here, %d not carried over, %d not known", plural(count[migrate.Mapped], "key"), count[migrate.NoOp], count[migrate.Refused], count[migrate.Unknown])
}

// writeSecret creates a file for its owner alone. One that is there has to have the
// same content: it may be in use.
func writeSecret(path string, content []byte) error {
	was, err := os.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(was, content):
		return os.Chmod(path, 0o600)
	case err == nil:
		return fmt.Errorf("%s is there already, with other content; name another folder by --credentials-dir", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return fsx.WriteFile(path, content, 0o600)
}

// configFolder is where an operator keeps files for an agent.
func (a *app) configFolder() string {
	if os.Geteuid() == 0 {
		return "/etc/agentctl"
	}
	return filepath.Join(either(a.Getenv("XDG_CONFIG_HOME"), filepath.Join(a.Getenv("HOME"), ".config")), "agentctl")
}
