package main

import (
	"fmt"
	goruntime "runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build with -ldflags "-X main.version=…".
var version = "dev"

// versionInfo is what `version -o json` prints.
type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
}

func versionOf() versionInfo {
	v := versionInfo{Version: version, Go: goruntime.Version(), Platform: goruntime.GOOS + "/" + goruntime.GOARCH}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (a *app) versionCmd() *cobra.Command {
	out := newOutput(asJSON, asYAML)
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version of this program",
		Example: "  agentctl version\n  agentctl version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionOf()
			if out.format != "" {
				return out.write(a.Stdout, v)
			}
			_, err := fmt.Fprintf(a.Stdout, "agentctl %s (%s, %s)\n", v.Version, v.Go, v.Platform)
			return err
		},
	}
	out.flag(cmd)
	return cmd
}
