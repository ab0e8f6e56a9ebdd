package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"agentctl/clearml"
	"agentctl/envcache"
	"agentctl/runtime"
	"agentctl/spec"
)

// bytecodeFolder of the state folder holds the sandbox in which bytecode is made.
const bytecodeFolder = "bytecode"

// bytecodes makes the bytecode of the Python that an image brings, once for each image
// and while nobody waits for it. Images are shipped without it, to be small, so that each
// task would compile all that it imports anew, into a layer that goes with it.
type bytecodes struct {
	pool   *Pool
	wanted chan bytecodeJob

	mu    sync.Mutex
	known map[string]bytecodeState // by the digest of an image
	made  int
}

type bytecodeState int

// What is known of the bytecode of an image; at first nothing.
const (
	bytecodeUnknown bytecodeState = iota
	bytecodeMissing
	bytecodeHere
	bytecodeFailed // and would again
)

// bytecodeJob is an image of which some task found no bytecode.
type bytecodeJob struct {
	worker spec.Worker
	ref    string // of the image, by whoever chose it
	digest string
	python envcache.Interpreter
}

// bytecodeLayer tells the layer from others that are added to an image.
const bytecodeLayer = "bytecode"

// longestBytecode ends an interpreter that does something else.
const longestBytecode = 10 * time.Minute

var errBytecode = fmt.Errorf("it took longer than %s", longestBytecode)

// errNoBytecode means that nobody made it yet.
var errNoBytecode = errors.New("the bytecode of the image is not made yet")

func newBytecodes(p *Pool) *bytecodes {
	return &bytecodes{pool: p, wanted: make(chan bytecodeJob, 8), known: map[string]bytecodeState{}}
}

// put puts the bytecode of an image on top of it, if it is here. What it holds follows
// from the image, so that the image stays the same to whoever asks.
func (c *bytecodes) put(ctx context.Context, i *Image, w spec.Worker, ids runtime.IDRange) {
	state := c.state(i.Digest)
	if len(i.Layers) == 0 || i.Shifted || state == bytecodeMissing || state == bytecodeFailed {
		return
	}
	layer, err := c.pool.cfg.Images.Add(ctx, i, w.Sandbox, ids, bytecodeLayer, nil, func(context.Context, string, *os.File) error { return errNoBytecode })
	if err != nil {
		c.note(i.Digest, bytecodeMissing)
		return
	}
	c.note(i.Digest, bytecodeHere)
	if layer.Bytes == 0 { // the image has all its own
		_ = layer.Close()
		return
	}
	i.cover(layer)
}

func (c *bytecodes) state(digest string) bytecodeState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[digest]
}

func (c *bytecodes) note(digest string, state bytecodeState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[digest] = state
}

// generation rises whenever sandboxes that were made ahead have become worse than those
// that can be made now.
func (c *bytecodes) generation() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made
}

// want has the bytecode of a task's image made, once there is time for it.
func (c *bytecodes) want(r *run, p *prepared, py envcache.Interpreter) {
	if p.box == nil || py.Path == "" || py.Root == "" || c.state(p.box.image.Digest) != bytecodeMissing {
		return
	}
	c.pool.mu.Lock()
	prebuild := c.pool.prebuilds()
	c.pool.mu.Unlock()
	if !prebuild {
		return
	}
	select {
	case c.wanted <- bytecodeJob{r.rec.Worker, p.box.Image, p.box.image.Digest, py}:
	default: // a later task asks again
	}
}

// keep makes what is wanted, one after the other, until ctx ends.
func (c *bytecodes) keep(ctx context.Context) {
	if err := c.sweep(ctx); err != nil {
		c.pool.cfg.Log.Warn("what an earlier agent left of bytecode is not removed", "error", err)
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-c.wanted:
			if c.state(job.digest) != bytecodeMissing || !c.pool.room("") {
				continue
			}
			if err := c.compile(ctx, job); err != nil && ctx.Err() == nil {
				c.note(job.digest, bytecodeFailed)
				c.pool.cfg.Log.Info("the bytecode of an image is not made", "image", job.digest, "error", err)
			}
		}
	}
}

func (c *bytecodes) folder() folders { return folders{filepath.Join(c.pool.cfg.State, bytecodeFolder)} }

func (c *bytecodes) sweep(ctx context.Context) error {
	return errors.Join(c.folder().discardBoxes(ctx, c.pool.cfg.Launcher), runtime.RemoveAll(c.folder().root))
}

// compile makes the bytecode of one image in a sandbox of it that reaches no network.
func (c *bytecodes) compile(ctx context.Context, job bytecodeJob) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, longestBytecode, errBytecode)
	defer cancel()
	w := job.worker
	w.Sandbox.Pull, w.Sandbox.BuildNetwork = spec.PullNever, spec.NetworkNone
	p := &prepared{needs: needs{task: &clearml.Task{}}}
	if err := c.pool.sandboxOf(&p.needs, w); err != nil {
		return err
	}
	p.box.Image = job.ref
	r := newRun(c.pool, w.Name, &Record{Task: bytecodeFolder, Worker: w})
	r.dirs = c.folder()
	if err := os.MkdirAll(r.dirs.root, 0o711); err != nil {
		return fmt.Errorf("cannot create the folder of a sandbox: %w", err)
	}
	defer func() { err = errors.Join(err, c.sweep(context.WithoutCancel(ctx))) }()
	image, err := c.pool.cfg.Images.Acquire(ctx, p.box.Image, w.Sandbox, func(string, int64, int64) {})
	if err != nil {
		return err
	}
	defer func() { _ = image.Close() }()
	if image.Digest != job.digest {
		return nil // its name means another one by now
	}
	p.box.image = image
	layer, err := c.pool.cfg.Images.Add(ctx, image, w.Sandbox, p.box.ids, bytecodeLayer, nil, func(ctx context.Context, dir string, lock *os.File) error {
		return r.inLayer(context.WithValue(ctx, aheadKey{}, true), p, dir, lock, addition{
			name: bytecodeLayer, caps: bytecodeCapabilities, args: job.python.CompileModules(), env: []string{"PATH=/usr/bin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"},
		})
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.known[job.digest] = bytecodeHere
	c.made++
	c.mu.Unlock()
	hint(c.pool.spares.wake)
	return layer.Close()
}

// bytecodeCapabilities let root write beside modules that are another user's.
var bytecodeCapabilities = capabilities([]string{"DAC_OVERRIDE"})
