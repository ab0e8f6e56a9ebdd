package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/source"
	"agentctl/spec"

	"github.com/spf13/cobra"
)

func (a *app) validateCmd() *cobra.Command {
	out := newOutput("json", "yaml")
	cmd := &cobra.Command{
		Use: "validate FILE|FOLDER|-…", Short: "Check specs and report every fault at once",
		Long: `Check specs. Each fault is printed as file:line:column, where it is in the
document, what is wrong and what to write instead. Folders are searched for
*.yaml and *.yml. Exit code 2 if a spec is not valid.`,
		Example: "  agentctl validate node.yaml\n  agentctl validate nodes/ -o json\n  cat node.yaml | agentctl validate -",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			all := spec.Problems{}
			for _, arg := range args {
				files, err := a.specFiles(arg)
				if err != nil {
					return err
				}
				for _, f := range files {
					_, problems := spec.DecodeAll(f.name, f.text)
					all = append(all, problems...)
					if err := problems.Err(); err == nil && !a.quiet && out.format == "" {
						fmt.Fprintf(a.Stderr, "%s: valid\n", f.name)
					}
				}
			}
			return a.report(out, all)
		},
	}
	out.flag(cmd)
	return cmd
}

func (a *app) report(out *output, all spec.Problems) error {
	if out.format != "" {
		if err := out.write(a.Stdout, all); err != nil {
			return err
		}
	} else {
		for _, p := range all {
			fmt.Fprintf(a.Stdout, "%s: %s\n", p.Severity, p)
		}
	}
	if n := len(all.Errors()); n > 0 {
		return &exitError{exitUsage, fmt.Errorf("not valid: %d error(s)", n)}
	}
	return nil
}

type specFile struct {
	name string
	text []byte
}

// specFiles reads what one argument names: a file, a folder, or "-".
func (a *app) specFiles(arg string) ([]specFile, error) {
	if arg == "-" {
		text, err := io.ReadAll(io.LimitReader(a.Stdin, source.MaxSize+1))
		if err == nil && len(text) > source.MaxSize {
			err = fmt.Errorf("more than %d bytes", source.MaxSize)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read standard input: %w", err)
		}
		return []specFile{{"-", text}}, nil
	}
	if fi, err := os.Stat(arg); err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("cannot read %s: %w", arg, errors.Unwrap(err))}
	} else if !fi.IsDir() {
		text, err := source.ReadFile(arg)
		return []specFile{{arg, text}}, err
	}
	var out []specFile
	err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") || !slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) {
			return err
		}
		text, err := source.ReadFile(path)
		out = append(out, specFile{path, text})
		return err
	})
	if err == nil && len(out) == 0 {
		err = &exitError{exitUsage, fmt.Errorf("no .yaml or .yml file in %s", arg)}
	}
	return out, err
}
