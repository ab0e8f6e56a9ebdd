package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"agentctl/source"

	"github.com/spf13/cobra"
)

// gitFlags name a repository, and the files with what it takes to read it.
type gitFlags struct{ source.Git }

func (g *gitFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&g.URL, "git", "", "repository to follow: https://…, git@host:…, or the path of one on this machine")
	f.StringVar(&g.Ref, "ref", "", "its branch or tag (default the server's HEAD)")
	f.StringVar(&g.Path, "path", "", "file, or folder of *.yaml, in it (default its top folder)")
	f.DurationVar(&g.Interval, "interval", source.DefaultInterval, "time between two looks at it")
	f.StringVar(&g.Credentials, "git-credentials", "", "file with a line https://USER:TOKEN@HOST, read at each look")
	f.StringVar(&g.SSHKey, "ssh-key", "", "file with the private key for a repository by SSH")
	f.StringVar(&g.KnownHosts, "known-hosts", "", "file with the keys of SSH servers (default those of ssh)")
	f.StringVar(&g.Keyring, "gpg-keyring", "", "armored OpenPGP keys; commits must be signed by one of them")
	f.StringVar(&g.AllowedSigners, "allowed-signers", "", "SSH keys, as of ssh-keygen; commits must be signed by one of them")
}

// source is the repository that the flags name; nil if none is.
func (g gitFlags) source() (*source.Git, error) {
	if g.URL == "" {
		if g.Ref+g.Path+g.Credentials+g.SSHKey+g.KnownHosts+g.Keyring+g.AllowedSigners != "" {
			return nil, usagef("the repository is missing; name it with --git")
		}
		return nil, nil
	}
	out := g.Git
	if !strings.Contains(out.URL, ":") {
		path, err := filepath.Abs(out.URL)
		if err != nil {
			return nil, err
		}
		out.URL = path
	}
	for _, file := range []*string{&out.Credentials, &out.SSHKey, &out.KnownHosts, &out.Keyring, &out.AllowedSigners} {
		if *file == "" {
			continue
		}
		path, err := filepath.Abs(*file)
		if err != nil {
			return nil, err
		}
		*file = path
	}
	out.Interval = out.Interval.Round(time.Millisecond)
	checked, err := out.Checked()
	if err != nil {
		return nil, &usageError{fmt.Errorf("cannot follow the repository: %w", err)}
	}
	return &checked, nil
}
