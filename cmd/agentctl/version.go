package main

import (
	"fmt"
	goruntime "runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build with -ldflags "-X main.version=…".
var version = "dev"

func (a *app) versionCmd() *cobra.Command {
	out := newOutput("json", "yaml")
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version of this program",
		Example: "  agentctl version\n  agentctl version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info := map[string]string{"version": version, "go": goruntime.Version(), "platform": goruntime.GOOS + "/" + goruntime.GOARCH}
			if b, ok := debug.ReadBuildInfo(); ok {
				info["module"] = b.Main.Path
			}
			if out.format != "" {
				return out.write(a.Stdout, info)
			}
			_, err := fmt.Fprintf(a.Stdout, "agentctl %s (%s, %s)\n", version, info["go"], info["platform"])
			return err
		},
	}
	out.flag(cmd)
	return cmd
}
