package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/packet"
	"agentctl/runtime/internal/record"
)

// Spare is a sandbox that was made before it is known what will run in it. It
// dies with this process, unless it was started.
type Spare struct {
	launcher *Launcher
	config   Config // as it was asked for
	run      *record.Run
	shim     *spawned
	conn     *packet.Conn
}

// ErrUnfit means that a spare sandbox is not what the run needs.
var ErrUnfit = errors.New("the sandbox that was made ahead is another one")

// Prepare begins making the sandbox of cfg in cfg.Dir, a folder of its own.
// Args, Env, Cwd, Overlays, Keep, Own, the limits of time and ID may differ when it is
// started, and so may the sandbox's Resources. It returns when the shim lives.
func (l *Launcher) Prepare(ctx context.Context, cfg Config) (*Spare, error) {
	s, err := l.prepare(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot make a sandbox ahead: %w", err)
	}
	return s, nil
}

func (l *Launcher) prepare(ctx context.Context, cfg Config) (*Spare, error) {
	if err := cfg.ValidateAhead(); err != nil {
		return nil, err
	}
	cfg.Args, cfg.Env, cfg.Overlays, cfg.Keep, cfg.Own = nil, nil, nil, nil, nil
	run, err := l.complete(cfg, 0)
	if err != nil {
		return nil, err
	}
	run.Ahead = true
	lock, err := l.claim(ctx, run)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }()
	ours, theirs, err := packet.Pair()
	if err != nil {
		return nil, err
	}
	s := &Spare{launcher: l, config: cfg, run: run, conn: ours}
	s.shim, err = l.spawn(run, lock.File(), []*os.File{theirs})
	_ = theirs.Close()
	if err == nil {
		err = s.shim.recorded(ctx)
	}
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	return s, nil
}

// Fits tells why cfg can't be started in the spare sandbox, nil if it can.
func (s *Spare) Fits(cfg Config) error {
	if cfg.Sandbox == nil {
		return fmt.Errorf("%w: none is wanted", ErrUnfit)
	}
	have, want := *s.config.Sandbox, *cfg.Sandbox
	// These are set late.
	have.Resources, want.Resources = Resources{}, Resources{}
	if have.Upper != "" || want.Upper != "" {
		// The folder is the run's own; where it lies is no part of what is asked for.
		have.Upper, want.Upper = "x", "x"
	}
	if !reflect.DeepEqual(have, want) {
		return fmt.Errorf("%w: its settings differ", ErrUnfit)
	}
	if s.config.UID != cfg.UID || s.config.GID != cfg.GID || !slices.Equal(s.config.Groups, cfg.Groups) || !slices.Equal(s.config.Hide, cfg.Hide) {
		return fmt.Errorf("%w: its user or what it hides differ", ErrUnfit)
	}
	return nil
}

// Start is Launcher.Start in the sandbox that was made ahead, which is used up by
// it, whether or not it succeeds.
func (s *Spare) Start(ctx context.Context, cfg Config, leases ...*os.File) (*Task, error) {
	t, err := s.start(ctx, cfg, leases)
	if err != nil {
		return nil, fmt.Errorf("cannot start task %.100q in a sandbox made ahead: %w", cfg.ID, err)
	}
	s.launcher.log.Debug("run started in a sandbox made ahead", "run", cfg.ID, "shim", t.PID())
	return t, nil
}

func (s *Spare) start(ctx context.Context, cfg Config, leases []*os.File) (*Task, error) {
	used := false
	defer func() {
		if !used {
			_ = s.Remove()
		}
	}()
	if err := s.Fits(cfg); err != nil {
		return nil, err
	}
	run, err := s.launcher.order(cfg, len(leases))
	if err != nil {
		return nil, err
	}
	// Its processes and cgroups carry these names already.
	run.Nonce, run.CgroupPath, run.Sandbox.Upper = s.run.Nonce, s.run.CgroupPath, s.run.Sandbox.Upper
	lock, err := s.launcher.claim(ctx, run)
	if err != nil {
		return nil, err
	}
	used = true
	err = s.conn.Send(record.Order{Dir: run.Dir}, append([]*os.File{lock.File()}, leases...)...)
	_ = lock.Close() // only the shim's copy counts now
	s.launcher.step("runtime.handed")
	t, err := s.taken(ctx, run, err)
	return t, errors.Join(err, s.conn.Close())
}

// taken waits until the shim, to which the order was sent unless err tells
// otherwise, has recorded the run as its own.
func (s *Spare) taken(ctx context.Context, run *record.Run, err error) (*Task, error) {
	for err == nil {
		var w record.Word
		if _, err = s.conn.Receive(ctx, &w); err != nil {
			break
		}
		if w.Failed != "" {
			err = errors.New(w.Failed)
		}
		if w.Taken {
			h, err := record.ReadHandle(run.Dir)
			if err == nil && h != nil {
				return newTask(run.Dir, h, s.shim.pidfd, s.shim.proc), nil
			}
			return nil, errors.Join(errors.New("the shim recorded no handle"), err, s.end(run.Dir))
		}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, errors.Join(err, s.end(run.Dir))
}

// end kills the shim and settles the folders in which it may have begun.
func (s *Spare) end(dirs ...string) error {
	_ = s.shim.proc.Kill()
	_, err := s.shim.proc.Wait()
	if s.shim.pidfd >= 0 {
		_ = unix.Close(s.shim.pidfd)
	}
	if err != nil {
		return fmt.Errorf("cannot end the shim: %w", err)
	}
	for _, dir := range append(dirs, s.run.Dir) {
		h, herr := record.ReadHandle(dir)
		if herr == nil && h != nil {
			_, herr = settle(context.Background(), dir, h)
		}
		err = errors.Join(err, herr)
	}
	return errors.Join(err, RemoveAll(s.run.Dir))
}

// Ready waits until the sandbox is made.
func (s *Spare) Ready(ctx context.Context) error {
	var w record.Word
	_, err := s.conn.Receive(ctx, &w)
	if err == nil && w.Failed != "" {
		err = errors.New(w.Failed)
	}
	if err != nil {
		return fmt.Errorf("cannot make a sandbox ahead: %w", err)
	}
	return nil
}

// Dir is the folder that it was made in.
func (s *Spare) Dir() string { return s.run.Dir }

// Remove takes the sandbox down, and its folder.
func (s *Spare) Remove() error {
	_ = s.conn.Close() // which tells the shim
	if _, err := s.shim.proc.Wait(); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ECHILD) {
		return fmt.Errorf("cannot end the shim: %w", err)
	}
	if s.shim.pidfd >= 0 {
		_ = unix.Close(s.shim.pidfd)
	}
	// A shim that was killed has left more than its folder.
	if h, err := record.ReadHandle(s.run.Dir); err == nil && h != nil {
		if _, err := settle(context.Background(), s.run.Dir, h); err != nil {
			return err
		}
	}
	return RemoveAll(s.run.Dir)
}

// Discard ends whatever lives in a folder of Prepare that an earlier process of
// the agent left behind, and removes the folder.
func Discard(ctx context.Context, dir string) error {
	t, err := Attach(dir)
	if err == nil {
		if err = t.Kill(); err == nil {
			_, err = t.Wait(ctx)
		}
		t.Detach()
	}
	if err != nil && !errors.Is(err, ErrNoRun) {
		return fmt.Errorf("cannot discard the sandbox in %s: %w", dir, err)
	}
	return RemoveAll(dir)
}
