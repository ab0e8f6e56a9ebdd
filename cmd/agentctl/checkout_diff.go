package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// diff gives all that differs from base: commits, changes, staged or not, and new
// files that git does not ignore. It works on a copy of the index with a store of
// its own for new objects, so that the user's checkout stays as it is.
func (c *checkout) diff(ctx context.Context, base string) (string, error) {
	scratch, err := os.MkdirTemp("", "agentctl-submit-")
	if err != nil {
		return "", fmt.Errorf("cannot collect the changes: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	env, err := c.scratchIndex(ctx, scratch)
	if err != nil {
		return "", fmt.Errorf("cannot collect the changes: %w", err)
	}
	if err := c.stage(ctx, env); err != nil {
		return "", fmt.Errorf("cannot collect the changes: %w", err)
	}
	if err := c.noteSubmodules(ctx, base); err != nil {
		return "", err
	}
	out, err := git(ctx, c.root, env, nil, "-c", "core.quotePath=true", "diff", "--cached", "--binary", "--full-index", "--no-color",
		"--no-ext-diff", "--no-textconv", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules=all", base, "--")
	if err != nil {
		return "", fmt.Errorf("cannot collect the changes: %w", err)
	}
	if len(out) > maxDiff {
		return "", fmt.Errorf("the changes since %.12s are %s, and at most %s can be sent; push what is committed, and let git ignore large files", base, bytesOf(int64(len(out))), bytesOf(maxDiff))
	}
	return string(out), nil
}

// scratchIndex copies the index and says where git is to find and to put things.
func (c *checkout) scratchIndex(ctx context.Context, scratch string) (env []string, err error) {
	at := func(name string) string {
		path := c.ask(ctx, "rev-parse", "--git-path", name)
		if !filepath.IsAbs(path) {
			path = filepath.Join(c.root, path)
		}
		return path
	}
	index, objects := filepath.Join(scratch, "index"), filepath.Join(scratch, "objects")
	if err := copyIndex(at("index"), index); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.Mkdir(objects, 0o700); err != nil {
		return nil, err
	}
	others := at("objects")
	if set := os.Getenv("GIT_ALTERNATE_OBJECT_DIRECTORIES"); set != "" {
		others += ":" + set
	}
	return []string{"GIT_INDEX_FILE=" + index, "GIT_OBJECT_DIRECTORY=" + objects, "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + others}, nil
}

// copyIndex keeps the index's time: git takes a file that is as old as the index
// for one that may have changed since, without a trace in its size and time. By a
// younger copy it would be taken for unchanged.
func copyIndex(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, data, 0o600); err != nil { //nolint:forbidigo // thrown away with the folder
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}

// stage brings the copied index to what lies in the folder.
func (c *checkout) stage(ctx context.Context, env []string) error {
	quiet := []string{"-c", "core.safecrlf=false"}
	if _, err := git(ctx, c.root, env, nil, append(quiet, "add", "--update", "--", ".")...); err != nil {
		return err
	}
	out, err := git(ctx, c.root, env, nil, "ls-files", "-z", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	var files strings.Builder
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		switch {
		case strings.HasSuffix(name, "/"): // a repository inside this one
			c.notes = append(c.notes, fmt.Sprintf("%s is a git repository of its own and is not sent", name))
		case name != "":
			files.WriteString(name + "\x00")
		}
	}
	if files.Len() == 0 {
		return nil
	}
	_, err = git(ctx, c.root, env, []byte(files.String()), append(quiet, "update-index", "--add", "-z", "--stdin")...)
	return err
}

// noteSubmodules tells of changes that no diff can carry.
func (c *checkout) noteSubmodules(ctx context.Context, base string) error {
	out, err := c.git(ctx, "diff", "--raw", "-z", "--no-renames", "--ignore-submodules=none", base, "--")
	if err != nil {
		return fmt.Errorf("cannot look at the submodules: %w", err)
	}
	// A record is ":OLDMODE NEWMODE OLD NEW STATUS", then the path.
	fields := strings.Split(string(out), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		if strings.HasPrefix(fields[i], ":160000 ") || strings.Contains(fields[i], " 160000 ") {
			c.notes = append(c.notes, fmt.Sprintf("changes in the submodule %s are not sent; commit and push them", fields[i+1]))
		}
	}
	return nil
}
