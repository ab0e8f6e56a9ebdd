package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"agentctl/internal/fsx"
	"agentctl/runtime/image"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"
)

func (a *app) imageExport() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use: "export IMAGE -o FILE|-", Short: "Write an image to an archive, for another host",
		Long: `Write an image as the archive of an OCI image layout, which docker load, podman and
skopeo read as well. It is packed if its name ends with .zst or .gz. Its layers are put
together again byte by byte and compared with their digests; on the host that imports it
with agentctl, the image has the digest that it was pulled by.`,
		Example: "  agentctl image export python:3.12-slim -o python.tar.zst\n  agentctl image export 4f1c62a1b0d3 -o - | ssh gpu-08 agentctl image import -",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.exportImage(cmd.Context(), args[0], file) },
	}
	cmd.Flags().StringVarP(&file, "file", "o", "", "the archive; - is the standard output")
	return a.completeImages(cmd)
}

func (a *app) exportImage(ctx context.Context, name, file string) error {
	switch {
	case file == "":
		return usagef("say where the archive goes: -o FILE, or -o - for the standard output")
	case file == "-" && terminal(a.Stdout):
		return usagef("an archive is not for a terminal; write -o FILE")
	}
	return a.withImages(ctx, registryFlags{}, false, func(s *image.Store) error {
		e, err := s.Find(name)
		if err != nil {
			return err
		}
		sum := sha256.New()
		write := func(w io.Writer) error {
			packed, err := packer(io.MultiWriter(w, sum), file)
			if err != nil {
				return err
			}
			return errors.Join(s.Export(ctx, e, packed), packed.Close())
		}
		if file == "-" {
			err = write(a.Stdout)
		} else {
			err = fsx.ReplaceWith(file, 0o600, write)
		}
		if err == nil {
			a.say("exported %s; sha256 %x", e.Digest, sum.Sum(nil))
		}
		return err
	})
}

// packer packs what is written, as the name of the file says.
func packer(w io.Writer, file string) (io.WriteCloser, error) {
	switch {
	case strings.HasSuffix(file, ".zst"):
		return zstd.NewWriter(w)
	case strings.HasSuffix(file, ".gz"), strings.HasSuffix(file, ".tgz"):
		return gzip.NewWriter(w), nil
	}
	return unpacked{w}, nil
}

type unpacked struct{ io.Writer }

func (unpacked) Close() error { return nil }

func (a *app) imageImport() *cobra.Command {
	var o image.ImportOptions
	cmd := &cobra.Command{
		Use: "import FILE|-", Short: "Take an image from an archive",
		Long: `Make an image of an archive that "agentctl image export", docker save, podman save or
another tool wrote, and print by which digest it goes. Every layer is compared with the
digest that the image's configuration has of it. Tasks find it by the name that the
archive tells, or by --name, as if it had been pulled; what it holds will run in tasks:
import none that you do not trust.`,
		Example: "  agentctl image import python.tar.zst\n  docker save train:7 | agentctl image import - --name registry.example.com/train:7",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.importImage(cmd.Context(), args[0], o) },
	}
	cmd.Flags().StringVar(&o.Name, "name", "", "name that the image gets (default those that the archive tells)")
	cmd.Flags().StringVar(&o.Of, "of", "", "which image of the archive, if it holds several")
	cmd.Flags().StringVar(&o.Platform, "platform", "", "OS/ARCHITECTURE[/VARIANT] (default this host's)")
	return cmd
}

func (a *app) importImage(ctx context.Context, file string, o image.ImportOptions) error {
	from := a.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("cannot read the archive: %w", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	return a.withImages(ctx, registryFlags{}, true, func(s *image.Store) error {
		l, err := s.Import(ctx, from, o, a.tell)
		if err != nil {
			return err
		}
		if !l.Pulled {
			a.say("it is here already")
		}
		fmt.Fprintln(a.Stdout, l.Pinned())
		return l.Close()
	})
}
