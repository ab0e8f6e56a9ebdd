package main

import (
	"context"
	"errors"
	"log/slog"

	"agentctl/clearml"
	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/server"
	"agentctl/spec"
	"agentctl/worker"
)

// errServerDown means that the node's own server does not run.
var errServerDown = errors.New("the embedded server does not run; start it with `agentctl apply FILE`, or alone with `agentctl server`")

// nodeServer is the way to the server that the node takes its tasks from. It
// starts nothing. The caller closes the client.
func (a *app) nodeServer(ctx context.Context, c *control.Client, snap *reconcile.Snapshot) (worker.Conn, error) {
	var sv spec.Server
	if snap.Node != nil {
		sv = snap.Node.Spec.Server
	}
	who, err := c.Agent(ctx)
	if err != nil {
		return worker.Conn{}, err
	}
	return a.wayTo(ctx, sv, who.Server)
}

// wayTo is the way to a server; dir is the folder of the embedded one.
func (a *app) wayTo(ctx context.Context, sv spec.Server, dir string) (worker.Conn, error) {
	if sv.URL != "" {
		return (&servers{app: a, log: slog.New(slog.DiscardHandler)}).connect(ctx, sv)
	}
	at, alive, err := server.ReadEndpoint(dir)
	if err != nil || !alive {
		return worker.Conn{}, errServerDown
	}
	client, err := clearml.New(clearml.Config{
		URL: at.API, UserAgent: "agentctl-" + version,
		Credentials: func(context.Context) (clearml.Credentials, error) {
			keys, err := server.ReadCredentials(dir)
			return clearml.Credentials{AccessKey: keys.AccessKey, SecretKey: keys.SecretKey}, err
		},
	})
	return worker.Conn{Client: client, Endpoints: worker.Endpoints{API: at.API, Web: at.Web, Files: at.Files}, Embedded: true}, err
}
