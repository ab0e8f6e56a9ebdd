package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"agentctl/server"

	"github.com/spf13/cobra"
)

func (a *app) serverCmd() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "server", Short: "Run the embedded ClearML-compatible server alone",
		Long: `Run the embedded server in the foreground: API, files and web on three ports
(8008, 8081 and 8080, unless --listen says otherwise; port 0 takes free ones).
An agent without spec.server.url starts one by itself.`,
		Example: "  agentctl server --listen 127.0.0.1:8008\n  agentctl server credentials -o env",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.serverConfig(listen)
			if err != nil {
				return err
			}
			s, err := server.Open(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return s.Serve(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8008", "address of the API; files and web listen beside it")
	cmd.AddCommand(a.serverCredentialsCmd(), a.serverStopCmd())
	return cmd
}

func (a *app) serverConfig(listen string) (server.Config, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return server.Config{}, &usageError{fmt.Errorf("cannot use --listen %q: write HOST:PORT", listen)}
	}
	api, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return server.Config{}, &usageError{fmt.Errorf("cannot use --listen %q: the port is no number up to 65535", listen)}
	}
	cfg := server.Config{Dir: (&servers{app: a}).serverDir(), Listen: host, Log: a.logger()}
	switch api {
	case 0:
	case 8008:
		cfg.APIPort, cfg.WebPort, cfg.FilesPort = 8008, 8080, 8081
	default:
		cfg.APIPort, cfg.WebPort, cfg.FilesPort = int(api), int(api)+1, int(api)+2
	}
	return cfg, nil
}

func (a *app) serverCredentialsCmd() *cobra.Command {
	out := newOutput("env", "conf", "json")
	cmd := &cobra.Command{
		Use: "credentials", Short: "Print what the clearml SDK needs to reach the embedded server",
		Example: "  eval \"$(agentctl server credentials -o env)\"\n  agentctl server credentials -o conf > ~/clearml.conf",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir := (&servers{app: a}).serverDir()
			at, alive, err := server.ReadEndpoint(dir)
			if err != nil || !alive {
				return errors.Join(errors.New("the embedded server does not run; start it with agentctl apply, or agentctl server"), err)
			}
			keys, err := server.ReadCredentials(dir)
			if err != nil {
				return err
			}
			switch out.format {
			case "json":
				return out.write(a.Stdout, map[string]string{
					"api_server": at.API, "web_server": at.Web, "files_server": at.Files,
					"access_key": keys.AccessKey, "secret_key": keys.SecretKey,
				})
			case "conf":
				_, err = fmt.Fprintf(a.Stdout, "api {\n  api_server: %q\n  web_server: %q\n  files_server: %q\n  credentials {\n    access_key: %q\n    secret_key: %q\n  }\n}\n",
					at.API, at.Web, at.Files, keys.AccessKey, keys.SecretKey)
			default:
				_, err = fmt.Fprintf(a.Stdout, "export CLEARML_API_HOST=%s\nexport CLEARML_WEB_HOST=%s\nexport CLEARML_FILES_HOST=%s\nexport CLEARML_API_ACCESS_KEY=%s\nexport CLEARML_API_SECRET_KEY=%s\n",
					at.API, at.Web, at.Files, keys.AccessKey, keys.SecretKey)
			}
			return err
		},
	}
	out.flag(cmd)
	return cmd
}

func (a *app) serverStopCmd() *cobra.Command {
	return &cobra.Command{
		Use: "stop", Short: "Stop the embedded server of this state folder",
		Example: "  agentctl server stop", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := (&servers{app: a}).serverDir()
			at, alive, err := server.ReadEndpoint(dir)
			if err != nil || !alive {
				return err
			}
			// The lock of a live server vouches that the pid is its own.
			p, err := os.FindProcess(at.PID)
			if err != nil {
				return fmt.Errorf("cannot stop the server: %w", err)
			}
			if err := p.Signal(syscall.SIGTERM); err != nil {
				return fmt.Errorf("cannot stop the server: %w", err)
			}
			for alive && err == nil {
				select {
				case <-cmd.Context().Done():
					return cmd.Context().Err()
				case <-time.After(10 * time.Millisecond):
				}
				_, alive, err = server.ReadEndpoint(dir)
			}
			return err
		},
	}
}
