package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"agentctl/envcache"

	"github.com/samber/lo"
)

// addition is a program that makes a layer on top of an image, as the root of a sandbox.
type addition struct {
	name      string
	caps      []string
	args, env []string
}

// inLayer runs it in a sandbox of the task's image that leaves what it writes in dir.
func (r *run) inLayer(ctx context.Context, p *prepared, dir string, lock *os.File, a addition) error {
	boxes, err := r.taskBoxes(p)
	if err != nil {
		return err
	}
	defer func() { _ = boxes.close() }() // else it goes with the task's folder
	inside := boxes.inside()
	inside.name, inside.upper = a.name, dir
	cfg, box := &inside.base, *inside.base.Sandbox
	cfg.UID, cfg.GID, cfg.Groups, cfg.Sandbox = 0, 0, nil, &box
	box.CapAdd, box.ReadOnly = a.caps, false
	var out tail
	exit, err := inside.Run(ctx, envcache.Cmd{Args: a.args, Env: a.env, Dir: "/", Stdout: &out, Files: []*os.File{lock}, Nice: IsAhead(ctx)})
	// What it started goes with it: from here on nobody writes to the layer.
	if err := errors.Join(err, inside.close()); err != nil {
		return err
	}
	if exit.Code != 0 {
		return fmt.Errorf("%s failed with exit status %d:\n%s", a.name, exit.Code, out.last(12))
	}
	return nil
}

// tail keeps the end of what a program says.
type tail struct{ bytes.Buffer }

const longestTail = 16 << 10

// Write drops what came first once there is too much.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	_, _ = t.Buffer.Write(p[max(0, n-longestTail):])
	t.Next(max(0, t.Len()-longestTail))
	return n, nil
}

// last are its last lines.
func (t *tail) last(n int) string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(t.String(), "?")), "\n")
	lines = lines[max(0, len(lines)-n):]
	return strings.Join(lo.Map(lines, func(l string, _ int) string { return "    " + cmp.Or(strings.TrimSpace(l), "-") }), "\n")
}
