package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"agentctl/runtime/image"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

// imageColumns are what `image ls` shows.
func imageColumns() []column[image.Entry] {
	type row = image.Entry
	return []column[row]{
		{head: "IMAGE", cell: func(e row, _ time.Time) string { return strings.Join(e.Refs, ",") }},
		{head: "DIGEST", cell: func(e row, _ time.Time) string { return shortDigest(e.Digest) }},
		{head: "PLATFORM", cell: func(e row, _ time.Time) string { return e.Platform }},
		{head: "LAYERS", cell: func(e row, _ time.Time) string { return fmt.Sprint(len(e.Layers)) }},
		{head: "SIZE", cell: func(e row, _ time.Time) string { return bytesOf(e.Bytes) }},
		{head: "PULLED", cell: func(e row, now time.Time) string { return age(e.Pulled, now) }},
		{head: "LAST USED", cell: func(e row, now time.Time) string { return age(e.Used, now) }},
		{head: "IN USE", cell: func(e row, _ time.Time) string { return yesNo(e.InUse) }},
		{head: "CREATED", wide: true, cell: func(e row, now time.Time) string { return age(e.Created, now) }},
		{head: "FETCHED", wide: true, cell: func(e row, _ time.Time) string { return bytesOf(e.Packed) }},
	}
}

// shortDigest is what of a digest people look at.
func shortDigest(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex[:min(12, len(hex))]
}

func imageName(e image.Entry) string {
	return either(lo.FirstOrEmpty(e.Refs), e.Digest)
}

func (a *app) imageLs() *cobra.Command {
	return a.completeImages(listCmd(a, kind[image.Entry]{
		use: "ls", noun: "images", short: "List the images, the last used first", aliases: []string{"list"},
		example: "  agentctl image ls\n  agentctl image ls -o json | jq '.[].digest'\n  agentctl image ls -o name",
		name:    imageName, prefix: true,
		columns: imageColumns(),
		follow: func(ctx context.Context, watching bool, see func([]image.Entry) error) error {
			err := a.withImages(ctx, registryFlags{}, false, func(s *image.Store) error {
				return poll(ctx, watching, func() error {
					all, err := s.Entries()
					if err != nil {
						return err
					}
					return see(all)
				})
			})
			if errors.Is(err, errNoImages) {
				return see(nil)
			}
			return err
		},
	}))
}

func (a *app) imageInspect() *cobra.Command {
	o := newOutput(asJSON, asYAML)
	manifest, config := false, false
	cmd := &cobra.Command{
		Use: "inspect IMAGE", Short: "Tell all about an image that is here", Aliases: []string{"show"},
		Example: "  agentctl image inspect python:3.12-slim\n  agentctl image inspect 4f1c62a1b0d3 --config | jq .history",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withImages(cmd.Context(), registryFlags{}, false, func(s *image.Store) error {
				e, err := s.Find(args[0])
				switch {
				case err != nil:
					return err
				case manifest:
					return a.document(s.Manifest(e))
				case config:
					return a.document(s.RawConfig(e))
				case o.structured():
					return o.write(a.Stdout, e)
				}
				p := newPage(a.Stdout, time.Now())
				p.image(e)
				return p.w.Flush()
			})
		},
	}
	o.flag(cmd)
	cmd.Flags().BoolVar(&manifest, "manifest", false, "print the manifest as it was pulled")
	cmd.Flags().BoolVar(&config, "config", false, "print the configuration as it was pulled")
	cmd.MarkFlagsMutuallyExclusive("manifest", "config", "output")
	return a.completeImages(cmd)
}

func (a *app) document(data []byte, err error) error {
	if err == nil {
		_, err = a.Stdout.Write(data)
	}
	return err
}

func (p *page) image(e image.Entry) {
	p.line("Digest", "%s", e.Digest)
	p.line("Platform", "%s", e.Platform)
	p.line("Size", "%s in files, %s as it was fetched", bytesOf(e.Bytes), bytesOf(e.Packed))
	p.at("Created", e.Created)
	p.at("Pulled", e.Pulled)
	p.at("Last used", e.Used)
	p.line("In use", "%s", yesNo(e.InUse))
	p.line("Entrypoint", "%s", orDash(strings.Join(e.Config.Entrypoint, " ")))
	p.line("Command", "%s", orDash(strings.Join(e.Config.Cmd, " ")))
	p.line("Folder", "%s", orDash(e.Config.WorkingDir))
	p.line("User", "%s", orDash(e.Config.User))
	p.list("Names", e.Refs)
	p.list("Variables", e.Config.Env)
	p.list("Labels", lo.MapToSlice(e.Config.Labels, func(k, v string) string { return k + "=" + v }))
	p.section("Layers, the lowest first")
	for _, l := range e.Layers {
		fmt.Fprintf(p.w, "  %s\t%s\t%s\n", l.Digest, bytesOf(l.Bytes), printable(l.Path))
	}
}
