package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/runtime/image"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) imageCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "image", Short: "See, pull, move and clear the container images that are kept",
		Long: `Work on the images of a state folder: that of --state, else that of the agent that
answers, else the default one. An agent may be running or not: what a task uses is
never touched.

An image is REGISTRY/REPOSITORY[:TAG][@DIGEST] as for docker, oci:FOLDER[:NAME] (an
OCI image layout), oci-archive:FILE[:NAME], docker-archive:FILE[:NAME] (what docker
save wrote), or, of those that are here, a digest or the first six digits of one.`,
		Example: "  agentctl image pull python:3.12-slim\n  agentctl image ls\n  agentctl image export python:3.12-slim -o python.tar.zst",
	}
	cmd.AddCommand(a.imageLs(), a.imagePull(), a.imageInspect(), a.imageRm(), a.imageGC(), a.imageExport(), a.imageImport(), imageInside())
	return group(cmd)
}

// imageInside is what the agent of an ordinary user starts in a user namespace.
func imageInside() *cobra.Command {
	return &cobra.Command{
		Use: "inside", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if code := image.Inside(); code != 0 {
				return &exitError{code, errors.New("this verb is for agentctl itself")}
			}
			return nil
		},
	}
}

// registryFlags say how registries are spoken to.
type registryFlags struct {
	credentials string
	cas         []string
	insecure    []string
	mirrors     []string
}

func (r *registryFlags) add(f *pflag.FlagSet) {
	f.StringVar(&r.credentials, "credentials", "", "file with logins, in the form of docker's config.json (default docker's and podman's own)")
	f.StringArrayVar(&r.cas, "ca", nil, "file with CA certificates (PEM) to trust besides the system's")
	f.StringArrayVar(&r.insecure, "insecure", nil, "HOST[:PORT] of a registry that may be spoken to without TLS")
	f.StringArrayVar(&r.mirrors, "mirror", nil, "REGISTRY=HOST[:PORT][/PREFIX] to ask before the registry")
}

func (r *registryFlags) options(o *image.Options) error {
	o.Credentials, o.Insecure = r.credentials, r.insecure
	for _, m := range r.mirrors {
		registry, mirror, ok := strings.Cut(m, "=")
		if !ok || registry == "" || mirror == "" {
			return usagef("--mirror %q is not REGISTRY=MIRROR", m)
		}
		if o.Mirrors == nil {
			o.Mirrors = map[string][]string{}
		}
		o.Mirrors[registry] = append(o.Mirrors[registry], mirror)
	}
	for _, path := range r.cas {
		certificates, err := readCertificates(path)
		if err != nil {
			return err
		}
		o.CAs = append(o.CAs, certificates...)
	}
	return nil
}

// readCertificates reads the certificates of a PEM file.
func readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read certificates: %w", err)
	}
	var all []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("cannot read the certificates of %s: %w", path, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return all, nil
}

// errNoImages means that no image was ever pulled into a state folder.
var errNoImages = errors.New("no images are kept")

// withImages opens the images of the state folder. Only if they may be made it makes
// what is not there, so that a wrong folder is told from an empty one.
func (a *app) withImages(ctx context.Context, r registryFlags, make bool, do func(*image.Store) error) error {
	state, err := a.cacheState(ctx)
	if err != nil {
		return err
	}
	switch there, err := ownFolder(state, "images", "images"); {
	case err != nil:
		return err
	case !there && !make:
		return fmt.Errorf("%w: there are none in %s", errNoImages, state)
	}
	o := image.Options{Recorded: true, Getenv: a.Getenv}
	if err := r.options(&o); err != nil {
		return err
	}
	if err := asUser(&o, state, make); err != nil {
		return err
	}
	s, err := image.Open(filepath.Join(state, "images"), o)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

// tell tells how far a pull is.
func (a *app) tell(p image.Progress) { a.say("%s", p) }

// completeImages completes the names of images that are here.
func (a *app) completeImages(cmd *cobra.Command) *cobra.Command {
	cmd.ValidArgsFunction = func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if err := a.fromEnviron(c.Flags()); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var words []string
		err := a.withImages(c.Context(), registryFlags{}, false, func(s *image.Store) error {
			all, err := s.Entries()
			for _, e := range all {
				for _, ref := range e.Refs {
					words = append(words, fmt.Sprintf("%s\t%s, %s", ref, e.Platform, bytesOf(e.Bytes)))
				}
			}
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return slices.DeleteFunc(words, func(w string) bool { return !strings.HasPrefix(w, begun) }), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}
