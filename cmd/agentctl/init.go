package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"agentctl/envcache"
	"agentctl/spec"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

//go:embed init.yaml.tmpl
var initText string

// schemaFile is what the first line of a node.yaml names for editors.
const schemaFile = "node.schema.json"

func (a *app) initCmd() *cobra.Command {
	return &cobra.Command{
		Use: "init [FILE|-]", Short: "Look at this machine and write a commented node.yaml",
		Long: `Look at this machine (Python, git, memory, GPUs) and write a commented node.yaml
for it, with its JSON schema beside it, by which editors complete and check. A
file that is there is never overwritten. "-" prints it.`,
		Example: "  agentctl init\n  agentctl init /etc/agentctl/node.yaml\n  agentctl init - | less",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := either(one(args), "node.yaml")
			if path != "-" {
				if _, err := os.Lstat(path); err == nil {
					return fmt.Errorf("%s is there already and is not overwritten; name another file, or - to print", path)
				}
			}
			text, err := firstSpec(cmd.Context())
			if err != nil {
				return err
			}
			if path == "-" {
				_, err := a.Stdout.Write(text)
				return err
			}
			return a.writeFirst(path, text)
		},
	}
}

func (a *app) writeFirst(path string, text []byte) error {
	if err := createNew(path, text); err != nil {
		return fmt.Errorf("cannot write the spec: %w", err)
	}
	schema := filepath.Join(filepath.Dir(path), schemaFile)
	if err := createNew(schema, spec.Schema()); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot write the schema: %w", err)
	}
	a.say("wrote %s and %s; look at it, then: agentctl apply %s", path, schema, path)
	return nil
}

// createNew writes a file that must not be there: another process may have made
// it since we looked.
func createNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// firstSpec is a node.yaml for this machine.
func firstSpec(ctx context.Context) ([]byte, error) {
	h, err := lookAtHost(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the machine: %w", err)
	}
	return renderSpec(h)
}

func renderSpec(h host) ([]byte, error) {
	t, err := template.New("node.yaml").Funcs(template.FuncMap{
		"join": strings.Join, "name": spec.NodeName, "bytes": bytesOf, "plural": plural,
		"versions": func(list []envcache.Interpreter) string {
			return strings.Join(lo.Map(list, func(p envcache.Interpreter, _ int) string { return p.Version }), ", ")
		},
		"minor": func(p envcache.Interpreter) string { n := p.Numbers(); return fmt.Sprintf("%d.%d", n[0], n[1]) },
	}).Parse(initText)
	if err != nil {
		return nil, fmt.Errorf("cannot write the spec: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, h); err != nil {
		return nil, fmt.Errorf("cannot write the spec: %w", err)
	}
	return b.Bytes(), nil
}
