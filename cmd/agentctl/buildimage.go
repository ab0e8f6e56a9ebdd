package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/control"
	"agentctl/internal/tree"
	"agentctl/runtime/image"
)

// codeInside is where an image has the script of a task without a repository.
const codeInside = "/opt/agentctl/code"

// buildImage puts the parts of a task on top of their image.
func (a *app) buildImage(ctx context.Context, c *control.Client, f buildFlags, r control.BuildRequest, to image.Reference) error {
	b, release, err := a.built(ctx, c, r)
	if err != nil {
		return err
	}
	defer release()
	if b.Image == "" {
		return errors.New("cannot make an image of the host: name one with --docker")
	}
	if len(b.Apt) > 0 {
		a.say("WARNING: the Debian packages that the task has here are not in the image (%s): name an image that has them, if it needs them", strings.Join(b.Apt, ", "))
	}
	var pieces []image.Piece
	for _, dir := range append(slices.Clone(b.Reads), b.EnvPath, b.Checkout) {
		if dir != "" {
			pieces = append(pieces, image.Piece{Folder: dir, At: dir, Base: b.Base, Size: b.Size})
		}
	}
	code := b.Checkout
	if b.Literal != "" {
		dir, err := os.MkdirTemp("", "agentctl-build-")
		if err != nil {
			return err
		}
		defer func() { _ = tree.Remove(dir) }()
		if err := errors.Join(os.Chmod(dir, 0o755), writeScript(dir, b)); err != nil {
			return err
		}
		code = cmp.Or(b.Checkout, codeInside)
		pieces = append(pieces, image.Piece{Folder: dir, At: code})
	}
	return a.withImages(ctx, f.registry, false, func(s *image.Store) error {
		base, err := s.Find(b.Image)
		if err != nil {
			return err
		}
		digest, err := s.Compose(ctx, image.Composition{Base: base, Pieces: pieces, To: to, Change: func(c *image.Programs) { configure(c, b, code, f) }}, func(text string) { a.say("%s", text) })
		if err != nil {
			return err
		}
		a.say("image %s is in %s", digest, to)
		_, err = fmt.Fprintln(a.Stdout, digest)
		return err
	})
}

// configure says how programs start in the image: with the environment at the front of
// their PATH, and if that is wanted the script of the task.
func configure(c *image.Programs, b control.BuildReply, code string, f buildFlags) {
	set := func(name, value string) {
		c.Env = append(slices.DeleteFunc(c.Env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") }), name+"="+value)
	}
	if b.EnvPath != "" {
		path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		for _, kv := range c.Env {
			if have, ok := strings.CutPrefix(kv, "PATH="); ok {
				path = have
			}
		}
		set("PATH", filepath.Join(b.EnvPath, "bin")+":"+path)
		for _, kv := range b.Variables {
			if name, value, _ := strings.Cut(kv, "="); name != "PATH" {
				set(name, value)
			}
		}
	}
	if f.entry == "" {
		return
	}
	set("CLEARML_TASK_ID", f.id)
	c.Entrypoint, c.Cmd, c.WorkingDir = b.Args, nil, b.Dir
	if !filepath.IsAbs(b.Dir) {
		c.WorkingDir = filepath.Join(code, b.Dir)
	}
}
