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
	out := newOutput(asJSON, asYAML)
	recursive := false
	var f agentFlags
	cmd := &cobra.Command{
		Use: "validate FILE|FOLDER|-…", Short: "Check specs and tell every fault at once",
		Long: `Check specs. Each fault is printed as file:line:column, where it is in the
document, what is wrong and what to write instead; warnings too. Of a folder, the
files *.yaml and *.yml are checked. Each file is checked for itself; with --for,
what the machine of this name and of the labels gets of all of them together. Exit
code 2 if a spec is not valid.`,
		Example: "  agentctl validate node.yaml\n  agentctl validate --recursive nodes/ -o json\n  cat node.yaml | agentctl validate -\n  agentctl validate nodes/ --for gpu-07 --label rack=r2",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if f.name != "" {
				return a.validateFor(out, args, recursive, f)
			}
			all := spec.Problems{}
			for _, arg := range args {
				files, err := a.specFiles(arg, recursive)
				if err != nil {
					return err
				}
				for _, f := range files {
					_, problems := spec.DecodeAll(f.name, f.text)
					all = append(all, problems...)
					if problems.Err() == nil {
						a.say("%s: valid", f.name)
					}
				}
			}
			return a.report(out, all)
		},
	}
	out.flag(cmd)
	cmd.Flags().StringVar(&f.name, "for", "", "check what the machine of this name gets of all files together")
	labelFlag(cmd, &f)
	cmd.Flags().BoolVarP(&recursive, "recursive", "R", false, "check the folders below a folder too")
	return cmd
}

// validateFor checks what one node gets of all files together.
func (a *app) validateFor(out *output, args []string, recursive bool, f agentFlags) error {
	host, err := a.hostOf(f)
	if err != nil {
		return err
	}
	var all []spec.File
	for _, arg := range args {
		files, err := a.specFiles(arg, recursive)
		if err != nil {
			return err
		}
		for _, f := range files {
			all = append(all, spec.File{Name: f.name, Text: f.text})
		}
	}
	_, problems := spec.DecodeFor(args[0], spec.Join(all), host)
	if problems.Err() == nil {
		a.say("%s: valid for %s", plural(len(all), "file"), host.Name)
	}
	return a.report(out, problems)
}

func (a *app) report(out *output, all spec.Problems) error {
	if out.format != "" {
		if err := out.write(a.Stdout, all); err != nil {
			return err
		}
	} else {
		for _, p := range all {
			fmt.Fprintln(a.Stdout, printable(p.String()))
		}
	}
	if n := len(all.Errors()); n > 0 {
		return &exitError{exitUsage, fmt.Errorf("not valid: %s", plural(n, "error"))}
	}
	return nil
}

// specFile is a spec before it is decoded.
type specFile struct {
	name string
	text []byte
}

// specFiles reads what one argument names: a file, a folder, or "-". What can't
// be read is a usage error.
func (a *app) specFiles(arg string, recursive bool) ([]specFile, error) {
	if arg == "-" {
		text, err := io.ReadAll(io.LimitReader(a.Stdin, spec.MaxSize+1))
		if err == nil && len(text) > spec.MaxSize {
			err = fmt.Errorf("it is larger than %d bytes", spec.MaxSize)
		}
		if err != nil {
			return nil, usagef("cannot read the standard input: %w", err)
		}
		return []specFile{{"-", text}}, nil
	}
	fi, err := os.Stat(arg)
	if err != nil {
		return nil, usagef("cannot read %s: %w", arg, errors.Unwrap(err))
	}
	paths := []string{arg}
	if fi.IsDir() {
		if paths, err = specPaths(arg, recursive); err != nil {
			return nil, usagef("cannot read %s: %w", arg, err)
		}
	}
	var out []specFile
	for _, path := range paths {
		text, err := readSpec(path)
		if err != nil {
			return nil, &usageError{err}
		}
		out = append(out, specFile{path, text})
	}
	return out, nil
}

// readSpec leaves it to the decoder to say what an empty file lacks.
func readSpec(path string) ([]byte, error) {
	if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Size() == 0 {
		return nil, nil
	}
	return source.ReadFile(path)
}

// specPaths lists the specs of a folder, in order; what begins with a dot is
// somebody's temporary file.
func specPaths(folder string, recursive bool) (paths []string, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		hidden := path != folder && strings.HasPrefix(d.Name(), ".")
		switch {
		case err != nil:
			return err
		case d.IsDir() && (hidden || path != folder && !recursive):
			return fs.SkipDir
		case !d.IsDir() && !hidden && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)):
			paths = append(paths, path)
		}
		return nil
	})
	if err == nil && len(paths) == 0 {
		err = errors.New("there is no .yaml or .yml file in it")
	}
	return paths, err
}
