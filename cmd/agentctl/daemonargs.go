package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/internal/argparse"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// clearmlName is the name of a link by which the program behaves as clearml-agent.
const clearmlName = "clearml-agent"

// maxArgumentFile bounds a file of arguments (@FILE).
const maxArgumentFile = 1 << 20

// adapted brings a command line to the form that cobra reads: that of clearml-agent, if
// the program was called by its name, and those of its verbs always.
func (m *Main) adapted(root *cobra.Command, args []string) ([]string, error) {
	if filepath.Base(m.Name) == clearmlName {
		var err error
		if args, err = argparse.Expand(args, readArguments); err == nil {
			args, err = clearmlArgs(args)
		}
		if err != nil {
			return nil, &usageError{err}
		}
	}
	cmd, rest, err := root.Find(args)
	if err != nil || cmd.Parent() != root || !slices.Contains([]string{"daemon", "execute", "build"}, cmd.Name()) {
		return args, nil //nolint:nilerr // cobra says what is wrong with it
	}
	options := daemonOptions()
	if cmd.Name() != "daemon" {
		options = optionsOf(cmd)
	}
	rest, err = argparse.Expand(rest, readArguments)
	if err != nil {
		return nil, &usageError{err}
	}
	given, err := argparse.Parse(options, rest)
	if err != nil {
		return nil, usageHint(rest, err)
	}
	return append([]string{cmd.Name()}, canonical(options, given)...), nil
}

// optionsOf are the flags of a verb in the words of argparse.
func optionsOf(cmd *cobra.Command) []argparse.Option {
	options := []argparse.Option{{Names: []string{"--help", "-h"}}}
	add := func(f *pflag.Flag) {
		o := argparse.Option{Names: []string{"--" + f.Name}, Takes: argparse.One}
		if f.Shorthand != "" {
			o.Names = append(o.Names, "-"+f.Shorthand)
		}
		switch {
		case f.Value.Type() == "bool":
			o.Takes = argparse.None
		case f.Value.Type() == "count":
			o.Takes = argparse.Count
		case f.NoOptDefVal != "":
			o.Takes = argparse.Maybe
		}
		if f.Name != "help" {
			options = append(options, o)
		}
	}
	cmd.LocalFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return options
}

func readArguments(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxArgumentFile+1))
	if err == nil && len(text) > maxArgumentFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxArgumentFile)
	}
	return string(text), err
}

// usageHint adds what is mostly meant where arguments of docker run stand alone.
func usageHint(args []string, err error) error {
	if slices.ContainsFunc(args, func(a string) bool { return a == "--docker" || a == "--podman" }) {
		err = fmt.Errorf(`%w; arguments of the container stand with the image in one word, as --docker "IMAGE -v /data:/data"`, err)
	}
	return &usageError{err}
}

// canonical writes what was given so that cobra reads the same.
func canonical(options []argparse.Option, given []argparse.Given) []string {
	var out []string
	takes := map[string]argparse.Takes{}
	for _, o := range options {
		takes[o.Names[0]] = o.Takes
	}
	for _, g := range given {
		if takes[g.Name] == argparse.Count {
			out = append(out, slices.Repeat([]string{g.Name}, g.Times)...)
			continue
		}
		switch {
		case len(g.Values) > 0:
		case takes[g.Name] == argparse.None:
			out = append(out, g.Name)
		default:
			out = append(out, g.Name+"="+leftOut)
		}
		for _, v := range g.Values {
			out = append(out, g.Name+"="+v)
		}
	}
	return out
}

// clearmlVerbs are the commands of clearml-agent.
var clearmlVerbs = []string{"execute", "build", "list", "daemon", "config", "init", "install-bootstrap"}

// clearmlOptions are its flags before a command.
var clearmlOptions = []argparse.Option{
	{Names: []string{"--config-file"}, Takes: argparse.One}, {Names: []string{"--debug", "-d"}},
	{Names: []string{"--version"}}, {Names: []string{"--help", "-h"}},
}

// clearmlArgs turns a command line of clearml-agent into one of agentctl. Its flags
// stand before the command.
func clearmlArgs(args []string) ([]string, error) {
	at := clearmlVerb(args)
	given, err := argparse.Parse(clearmlOptions, args[:at])
	if err != nil {
		return nil, err
	}
	var before, after []string
	for _, g := range given {
		switch g.Name {
		case "--version":
			return []string{"version"}, nil
		case "--help":
			return []string{"help", "daemon"}, nil
		case "--debug":
			before = append(before, "--verbose")
		case "--config-file":
			after = append(after, g.Name+"="+g.Values[0])
		}
	}
	if at == len(args) {
		return []string{"help", "daemon"}, nil
	}
	verb, rest := args[at], args[at+1:]
	if !slices.Contains(clearmlVerbs, verb) {
		return nil, fmt.Errorf("clearml-agent has no command %.40q; it has %s", verb, strings.Join(clearmlVerbs, ", "))
	}
	switch verb {
	case "init":
		return nil, errors.New("clearml-agent init writes a clearml.conf; here `agentctl init` writes a node.yaml, and `agentctl import` makes one of a clearml.conf")
	case "install-bootstrap":
		return nil, errors.New("there is no bootstrap package to install: the runner, git and the package managers come from outside of sandboxes")
	case "daemon", "config", "execute", "build":
		rest = append(after, rest...)
	}
	return append(append(before, verb), rest...), nil
}

// clearmlVerb is where the command stands; the length of args if there is none.
func clearmlVerb(args []string) int {
	for i := 0; i < len(args); i++ {
		switch {
		case len(args[i]) > 3 && strings.HasPrefix("--config-file", args[i]): // or the beginning of it
			i++ // its value
		case !strings.HasPrefix(args[i], "-"):
			return i
		}
	}
	return len(args)
}
