package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"agentctl/envcache"
)

// mostConf bounds a configuration of clearml-agent.
const mostConf = 4 << 20

// confParts finds the files that clearml-agent would read, in the order in which they
// are laid over each other, and names them.
func (a *app) confParts(file string) (parts []envcache.HOCONPart, from string, err error) {
	if file != "" {
		if _, err := os.Stat(file); err != nil {
			return nil, "", usagef("cannot read %s: %w", file, errors.Unwrap(err))
		}
		return []envcache.HOCONPart{{File: file}}, file, nil
	}
	var names []string
	if folder := either(a.Getenv("CLEARML_CONFIG_PATH"), a.Getenv("TRAINS_CONFIG_PATH")); folder != "" {
		if parts, err = confFolder(filepath.Join(a.expand(folder), "default")); err != nil {
			return nil, "", err
		}
		names = append(names, folder)
	}
	files := []string{"~/trains.conf", "~/clearml.conf"}
	if own := either(a.Getenv("CLEARML_CONFIG_FILE"), a.Getenv("TRAINS_CONFIG_FILE")); own != "" {
		files = []string{own}
	}
	for _, f := range files {
		if info, err := os.Stat(a.expand(f)); err == nil && info.Mode().IsRegular() {
			parts, names = append(parts, envcache.HOCONPart{File: a.expand(f)}), append(names, f)
		}
	}
	if len(parts) == 0 {
		return nil, "", &usageError{fmt.Errorf("%w: there is no %s; name the file of clearml-agent", errNoConf, strings.Join(files, " and no "))}
	}
	return parts, strings.Join(names, ", "), nil
}

// errNoConf tells that nobody has configured clearml-agent here.
var errNoConf = errors.New("cannot find a configuration")

// clearmlConf reads the configuration of clearml-agent that counts here: the one that
// is named, or the user's own; an empty one if there is none.
func (a *app) clearmlConf(ctx context.Context, path string) (map[string]any, error) {
	parts, _, err := a.confParts(path)
	named := path != "" || either(a.Getenv("CLEARML_CONFIG_FILE"), a.Getenv("TRAINS_CONFIG_FILE")) != ""
	if errors.Is(err, errNoConf) && !named {
		return map[string]any{}, nil
	}
	if err != nil {
		return nil, err
	}
	return a.readConf(ctx, parts)
}

// confFolder are the files of a folder, each below the key of its name.
func confFolder(folder string) (parts []envcache.HOCONPart, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".conf" {
			return err
		}
		rel, err := filepath.Rel(folder, strings.TrimSuffix(path, ".conf"))
		parts = append(parts, envcache.HOCONPart{File: path, Under: strings.ReplaceAll(rel, "/", ".")})
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the configuration of clearml-agent: %w", err)
	}
	return parts, nil
}

func (a *app) expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(a.Getenv("HOME"), rest)
	}
	return path
}

// readConf resolves a configuration. One file of JSON, as clearml-agent itself leaves
// it behind, needs no reader of HOCON.
func (a *app) readConf(ctx context.Context, parts []envcache.HOCONPart) (map[string]any, error) {
	for _, p := range parts {
		info, err := os.Stat(p.File)
		switch {
		case err != nil:
		case !info.Mode().IsRegular(): // to open a pipe that nobody writes to takes for ever, whatever signal comes
			err = fmt.Errorf("%s is no file", p.File)
		case info.Size() > mostConf:
			err = fmt.Errorf("%s is larger than %d bytes", p.File, mostConf)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the configuration of clearml-agent: %w", err)
		}
	}
	if len(parts) == 1 && parts[0].Under == "" {
		var conf map[string]any
		if data, err := os.ReadFile(parts[0].File); err == nil && json.Unmarshal(data, &conf) == nil && conf != nil {
			return conf, nil
		}
	}
	found, err := envcache.ReadHOCON(ctx, a.state, envcache.Options{Getenv: a.Getenv}, os.Environ(), [][]envcache.HOCONPart{parts})
	if err != nil {
		return nil, err
	}
	if e := found[0].Error; e != nil {
		return nil, &exitError{exitUsage, e}
	}
	return found[0].Value, nil
}
