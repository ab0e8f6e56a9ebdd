package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // without it device rules are refused
	"github.com/opencontainers/runc/libcontainer"

	"agentctl/internal/crash"
	"agentctl/runtime/internal/mounts"
	"agentctl/runtime/internal/packet"
	"agentctl/runtime/internal/record"
)

// Box is a sandbox that was made. Its methods may be called from several
// goroutines, unless they say otherwise.
type Box struct {
	run    *record.Run
	stage  *stage
	parts  *parts
	groups cgroups.Manager
	pid    int
	conn   *packet.Conn
	null   *os.File

	last atomic.Uint32 // the number given last
	mu   sync.Mutex
	runs map[uint32]*Process
	done chan struct{} // closed when the runner is gone
}

// Gather begins making what a run's sandbox consists of. It must be called before
// Create, which waits for it.
func Gather(run *record.Run) <-chan Gathered {
	ch := make(chan Gathered, 1)
	go func() {
		p, err := gather(run)
		ch <- Gathered{p, err}
	}()
	return ch
}

// Gathered is what Gather made.
type Gathered struct {
	parts *parts
	err   error
}

// Create makes the sandbox in which the run is to be, with dir as a place to
// mount to. It must be called on a locked thread that is never unlocked, whose
// mounts and whose death are the sandbox's.
func Create(run *record.Run, dir string, gathered <-chan Gathered) (*Box, error) {
	g := <-gathered
	if g.err != nil {
		return nil, g.err
	}
	b := &Box{run: run, stage: &stage{run: run}, parts: g.parts, runs: map[uint32]*Process{}, done: make(chan struct{})}
	if err := b.create(dir); err != nil {
		return nil, fmt.Errorf("cannot make the sandbox: %w", plain{err})
	}
	b.parts.close()
	return b, nil
}

func (b *Box) create(dir string) error {
	if err := mounts.Enter(); err != nil {
		return err
	}
	if err := b.stage.place(dir, b.parts); err != nil {
		return err
	}
	if err := b.stage.build(b.parts); err != nil {
		return err
	}
	crash.Point("sandbox.staged")
	cfg, err := b.stage.config(b.parts)
	if err != nil {
		return err
	}
	if cfg.Rlimits, err = rlimits(b.run.Sandbox.Ulimits); err != nil {
		return err
	}
	if b.groups, err = manage(b.run, cfg.Cgroups); err != nil {
		return err
	}
	// The name is that of a keyring too, which others of the same name could join.
	c, err := libcontainer.Create(b.stage.at("state"), name(b.run), cfg)
	if err != nil {
		return err
	}
	if b.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return err
	}
	return b.runRunner(c)
}

// plain is an error of libcontainer without what it says of itself.
type plain struct{ error }

func (p plain) Error() string {
	return strings.NewReplacer("unable to start container process: ", "", "error during container init: ", "",
		"error setting cgroup config for procHooks process: ", "").Replace(p.error.Error())
}

func (p plain) Unwrap() error { return p.error }

// name names a sandbox among all.
func name(run *record.Run) string { return run.ID + "-" + run.Nonce[:8] }

// runRunner has libcontainer start the runner.
func (b *Box) runRunner(c *libcontainer.Container) error {
	ours, theirs, err := packet.Pair()
	if err != nil {
		return err
	}
	defer func() { _ = theirs.Close() }()
	b.conn = ours
	p := &libcontainer.Process{
		Args: []string{runnerPath}, Cwd: "/", Init: true,
		UID: max(b.run.UID, 0), GID: max(b.run.GID, 0), AdditionalGroups: b.run.Groups,
		Stdin: b.null, Stdout: b.null, Stderr: os.Stderr, ExtraFiles: []*os.File{theirs, b.parts.filter},
		// Left out, each start writes and reads 45 lines about itself.
		LogLevel: "4",
	}
	// Its init takes this from here, and the runtime starts fewer threads.
	if err := os.Setenv("GOMAXPROCS", "1"); err != nil { //nolint:forbidigo // libcontainer hands its init our environment, and nothing else
		return err
	}
	gate, err := openGate(b.stage.at("state", name(b.run)))
	if err != nil {
		return err
	}
	defer gate.close()
	if err := c.Start(p); err != nil {
		return err
	}
	crash.Point("sandbox.created")
	if b.pid, err = p.Pid(); err != nil {
		return err
	}
	if err := gate.await(b.pid); err != nil {
		return errors.Join(err, syscall.Kill(b.pid, syscall.SIGKILL))
	}
	go b.listen()
	return nil
}

// Kill kills all that is in the sandbox, once. A frozen one dies when it is thawed.
func (b *Box) Kill() error {
	err := syscall.Kill(b.pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if st, ferr := b.groups.GetFreezerState(); ferr == nil && st == cgroups.Frozen {
		_ = b.groups.Freeze(cgroups.Thawed)
	}
	return err
}

// Groups are the folders of the sandbox's cgroups.
func (b *Box) Groups() []string {
	var dirs []string
	for _, dir := range b.groups.GetPaths() {
		dirs = append(dirs, filepath.Clean(dir))
	}
	return dirs
}

// OutOfMemory tells whether the kernel killed something for the memory limit.
func (b *Box) OutOfMemory() bool {
	n, err := b.groups.OOMKillCount()
	return err == nil && n > 0
}

// Limit sets limits anew.
func (b *Box) Limit(r record.Resources) error {
	cfg, err := limits(r)
	if err == nil {
		err = b.groups.Set(cfg)
	}
	if err != nil {
		return fmt.Errorf("cannot limit the task: %w", err)
	}
	return nil
}

// Remove takes down what is left of the sandbox when all of it is dead.
func (b *Box) Remove() error {
	_ = b.conn.Close()
	_ = b.null.Close()
	if err := b.groups.Destroy(); err != nil {
		return fmt.Errorf("cannot remove the cgroups: %w", err)
	}
	return nil
}
