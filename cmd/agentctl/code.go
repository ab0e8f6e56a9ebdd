package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"agentctl/clearml"
)

// code is what a task is to run.
type code struct {
	script        clearml.Script
	name, project string
	notes         []string // for who submits
}

// code finds out what to send: a state of the checkout, or the script's text.
func (a *app) code(ctx context.Context, f submitFlags, script string, args []string) (code, error) {
	pip, err := requirements(f.requirements)
	if err != nil {
		return code{}, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return code{}, fmt.Errorf("cannot find the working folder: %w", err)
	}
	if script != "" {
		fi, err := os.Stat(script)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return code{}, usagef("there is no file %s", script)
		case err != nil:
			return code{}, fmt.Errorf("cannot read the script: %w", err)
		case !fi.Mode().IsRegular():
			return code{}, usagef("%s is no file", script)
		}
	}
	var c code
	var tree *checkout
	if !f.literal {
		at := dir
		if script != "" {
			at = filepath.Dir(filepath.Join(dir, script))
			if filepath.IsAbs(script) {
				at = filepath.Dir(script)
			}
		}
		if tree, err = openCheckout(ctx, at); err != nil {
			return c, err
		}
	}
	switch {
	case tree != nil:
		c, err = tree.code(ctx, dir, script, f.module)
	case f.module != "":
		return c, usagef("-m %s needs a git checkout, and this folder is in none", f.module)
	default:
		c, err = literal(script)
	}
	if err != nil {
		return c, err
	}
	if !utf8.ValidString(c.script.Diff) { // JSON has no other: the task would run something else
		return c, usagef("cannot send text that is not UTF-8: save it as UTF-8, or commit and push it")
	}
	c.script.EntryPoint = strings.Join(append([]string{c.script.EntryPoint}, quoted(args)...), " ")
	c.script.Requirements.Pip = pip
	c.script.Binary = "python" + either(f.python, "3")
	return c, nil
}

// literal sends a script's text.
func literal(script string) (code, error) {
	text, err := os.ReadFile(script)
	if err != nil {
		return code{}, fmt.Errorf("cannot read the script: %w", err)
	}
	if len(text) > maxDiff {
		return code{}, fmt.Errorf("cannot send %s: it is larger than %s", script, bytesOf(maxDiff))
	}
	base := filepath.Base(script)
	return code{
		script: clearml.Script{EntryPoint: quote(base), WorkingDir: ".", Diff: string(text)},
		name:   base, project: "agentctl",
	}, nil
}

func requirements(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("cannot read the requirements: %w", err)
	}
	return strings.Split(strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), "\n"), nil
}

func quoted(args []string) []string {
	var out []string
	for _, arg := range args {
		out = append(out, quote(arg))
	}
	return out
}

// quote writes a word so that the shell's rules, by which an entry point is read,
// give it back.
func quote(word string) string {
	plain := word != "" && strings.IndexFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%_-+=:,./", r)
	}) < 0
	if plain {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'"'"'`) + "'"
}
