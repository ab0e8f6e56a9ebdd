package main

import (
	"fmt"

	"agentctl/runtime/image"

	"github.com/spf13/cobra"
)

func (a *app) imagePull() *cobra.Command {
	var r registryFlags
	platform := ""
	cmd := &cobra.Command{
		Use: "pull IMAGE…", Short: "Fetch images, so that tasks don't wait for them",
		Long: `Look images up where they come from, fetch what is not here yet, and print by which
digests they go. Every byte is compared with the image's digests. Without --platform
it is the image for this host.`,
		Example: "  agentctl image pull python:3.12-slim\n  agentctl image pull --ca corp.pem registry.example.com/train@sha256:4f1c…\n  agentctl image pull docker-archive:/tmp/saved.tar",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withImages(cmd.Context(), r, true, func(s *image.Store) error {
				for _, ref := range args {
					l, err := s.Acquire(cmd.Context(), image.Request{Ref: ref, Policy: image.Always, Platform: platform, Local: true}, a.tell)
					if err != nil {
						return err
					}
					if !l.Pulled {
						a.say("it is here already")
					}
					fmt.Fprintln(a.Stdout, l.Pinned())
					if err := l.Close(); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	r.add(cmd.Flags())
	cmd.Flags().StringVar(&platform, "platform", "", "OS/ARCHITECTURE[/VARIANT] (default this host's)")
	return cmd
}
