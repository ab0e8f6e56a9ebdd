package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"agentctl/migrate"
	"agentctl/server"
	"agentctl/source"

	"github.com/samber/lo"
	"golang.org/x/sys/unix"
)

// variables are what those of clearml-agent, in the agent's own environment, change of
// node.yaml. Their secrets are in the memory of this process alone: what node.yaml names
// is a link to it, whose path stays the same for the next agent, so that a task's record
// that names it is of use to that one too.
type variables struct {
	folder string
	layer  migrate.Layer
	held   []*os.File
}

// variablesOfAgent reads the environment of an agent with the state folder.
func variablesOfAgent(environ []string, state string, log *slog.Logger) (*variables, error) {
	v := &variables{folder: filepath.Join(state, "variables")}
	if err := os.RemoveAll(v.folder); err != nil { // links of an agent that was killed
		return nil, fmt.Errorf("cannot remove what an agent before this one left: %w", err)
	}
	var err error
	v.layer, err = migrate.Environment(withoutOwnServer(environ, state), func(name string) string { return filepath.Join(v.folder, name) })
	if err != nil {
		return nil, fmt.Errorf("cannot use the variables of clearml-agent: %w", err)
	}
	for _, n := range v.layer.Notes {
		switch n.Verdict {
		case migrate.Mapped:
			log.Info("variable counts over node.yaml", "variable", n.Name, "field", n.Target)
		case migrate.Refused:
			log.Warn("variable not used", "variable", n.Name, "reason", n.Text)
		default:
			log.Debug("variable without an effect", "variable", n.Name, "reason", n.Text)
		}
	}
	for _, s := range v.layer.Secrets {
		if err := v.hold(s); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot hold the secrets of variables: %w", err), v.close())
		}
	}
	return v, nil
}

// hold keeps a secret in memory, and lays the link to it.
func (v *variables) hold(s migrate.Secret) error {
	fd, err := unix.MemfdCreate(s.Name, unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), s.Name)
	v.held = append(v.held, f)
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if _, err := f.Write(s.Content); err != nil {
		return err
	}
	if err := os.MkdirAll(v.folder, 0o700); err != nil {
		return err
	}
	return os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), filepath.Join(v.folder, s.Name))
}

// layers are what is laid over the source.
func (v *variables) layers() []source.Layer {
	if len(v.layer.Patch) == 0 {
		return nil
	}
	return []source.Layer{{Name: migrate.LayerName, Text: v.layer.Patch}}
}

func (v *variables) close() error {
	for _, f := range v.held {
		_ = f.Close()
	}
	return os.RemoveAll(v.folder)
}

// ownServer are the variables by which users of a server reach it.
var ownServer = []string{"API_HOST", "WEB_HOST", "FILES_HOST", "API_ACCESS_KEY", "API_SECRET_KEY"}

// withoutOwnServer leaves out the variables of a shell that `agentctl server credentials`
// gave to the SDK. They name the embedded server of this very agent, which would take it
// for somebody else's, and not keep it running.
func withoutOwnServer(environ []string, state string) []string {
	at, _, err := server.ReadEndpoint(filepath.Join(state, "server"))
	if err != nil || at.API == "" {
		return environ
	}
	split := func(kv string) (name, value string) {
		name, value, _ = strings.Cut(kv, "=")
		for _, prefix := range []string{"CLEARML_", "TRAINS_"} {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				return rest, value
			}
		}
		return "", ""
	}
	is := lo.ContainsBy(environ, func(kv string) bool {
		name, value := split(kv)
		return name == "API_HOST" && strings.TrimRight(value, "/") == strings.TrimRight(at.API, "/")
	})
	if !is {
		return environ
	}
	return lo.Reject(environ, func(kv string, _ int) bool { name, _ := split(kv); return lo.Contains(ownServer, name) })
}
