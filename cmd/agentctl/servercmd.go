package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"agentctl/server"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// defaultListen is where the embedded server's API is, as that of a ClearML Server.
const defaultListen = "127.0.0.1:8008"

func (a *app) serverCmd() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "server", Short: "Run the embedded ClearML-compatible server alone",
		Long: `Run the embedded server in the foreground. It listens on three ports: the API at
--listen, web and files beside it (8080 and 8081 for 8008, else the next two; port
0 takes free ones and keeps them over restarts). An agent without spec.server.url
starts a server by itself, which goes on when the agent ends.`,
		Example: "  agentctl server --listen 127.0.0.1:8008\n  agentctl server credentials -o env\n  agentctl server stop",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := serverPorts(listen)
			if err != nil {
				return err
			}
			cfg.Dir, cfg.Log = a.serverFolder(), a.logger()
			s, err := server.Open(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return s.Serve(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", defaultListen, "address of the API; web and files listen beside it")
	cmd.AddCommand(a.serverBackupCmd(), a.serverCredentialsCmd(), a.serverStopCmd(), a.serverVerifyCmd())
	return cmd
}

// serverFolder is the embedded server's own.
func (a *app) serverFolder() string { return filepath.Join(a.state, "server") }

// serverPorts reads --listen.
func serverPorts(listen string) (cfg server.Config, err error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return cfg, usagef("cannot use --listen %q: write HOST:PORT", listen)
	}
	api, err := strconv.ParseUint(port, 10, 16)
	if err != nil || api > 65533 {
		return cfg, usagef("cannot use --listen %q: the port is no number up to 65533", listen)
	}
	cfg.Listen, cfg.APIPort = host, int(api)
	switch api {
	case 0:
	case server.DefaultAPIPort:
		cfg.WebPort, cfg.FilesPort = server.DefaultWebPort, server.DefaultFilesPort
	default:
		cfg.WebPort, cfg.FilesPort = int(api)+1, int(api)+2
	}
	return cfg, nil
}

func (a *app) serverCredentialsCmd() *cobra.Command {
	out := newOutput("env", "conf", asJSON)
	cmd := &cobra.Command{
		Use: "credentials", Short: "Print what the clearml SDK needs to reach the embedded server",
		Long: `Print the addresses and the operator's keys of the embedded server: as variables
for a shell, as a clearml.conf, or as JSON. They are secrets: whoever has them may
do everything on the server.`,
		Example: "  eval \"$(agentctl server credentials -o env)\"\n  agentctl server credentials -o conf > ~/clearml.conf",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.credentials(out) },
	}
	out.flag(cmd)
	return cmd
}

const confText = `api {
  api_server: %q
  web_server: %q
  files_server: %q
  credentials {
    access_key: %q
    secret_key: %q
  }
}
`

const envText = `export CLEARML_API_HOST=%s
export CLEARML_WEB_HOST=%s
export CLEARML_FILES_HOST=%s
export CLEARML_API_ACCESS_KEY=%s
export CLEARML_API_SECRET_KEY=%s
`

func (a *app) credentials(out *output) error {
	at, alive, err := server.ReadEndpoint(a.serverFolder())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !alive {
		return errServerDown
	}
	keys, err := server.ReadCredentials(a.serverFolder())
	if err != nil {
		return err
	}
	switch out.format {
	case asJSON:
		err = out.write(a.Stdout, map[string]string{
			"api_server": at.API, "web_server": at.Web, "files_server": at.Files,
			"access_key": keys.AccessKey, "secret_key": keys.SecretKey,
		})
	case "conf":
		_, err = fmt.Fprintf(a.Stdout, confText, at.API, at.Web, at.Files, keys.AccessKey, keys.SecretKey)
	default:
		_, err = fmt.Fprintf(a.Stdout, envText, at.API, at.Web, at.Files, keys.AccessKey, keys.SecretKey)
	}
	return err
}

func (a *app) serverStopCmd() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "stop", Short: "Stop the embedded server of this state folder",
		Long: `Stop the embedded server of this state folder and wait for its end. What it has
acknowledged is on disk. An agent that takes its tasks from it starts it again, so
end that one first. Exit code 3 if the server has not ended by --timeout.`,
		Example: "  agentctl server stop", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), wait, &exitError{exitTimeout, fmt.Errorf("the server has not ended within %s", wait)})
			defer cancel()
			return a.stopServer(ctx)
		},
	}
	cmd.Flags().DurationVar(&wait, "timeout", time.Minute, "longest wait for the end")
	return cmd
}

func (a *app) stopServer(ctx context.Context) error {
	at, alive, err := server.ReadEndpoint(a.serverFolder())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !alive {
		a.say("no embedded server runs here")
		return nil
	}
	fd, err := unix.PidfdOpen(at.PID, 0)
	if err != nil {
		return fmt.Errorf("cannot stop the server: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	// The lock that a server holds vouches for its pid: looked at again now that
	// the descriptor can't come to mean another process.
	if again, alive, err := server.ReadEndpoint(a.serverFolder()); err != nil || !alive || again.PID != at.PID {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		return fmt.Errorf("cannot stop the server: %w", err)
	}
	for alive {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
		if _, alive, err = server.ReadEndpoint(a.serverFolder()); err != nil {
			return err
		}
	}
	return nil
}
