package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/packet"
	"agentctl/runtime/internal/record"
)

// Spare is a sandbox that was made before it is known what will run in it. It
// dies with this process, unless it was started.
type Spare struct {
	launcher *Launcher
	config   Config // as it was asked for
	texts    texts
	run      *record.Run
	shim     *spawned
	conn     *packet.Conn
	ready    bool
}

// ErrUnfit means that a spare sandbox is not what the run needs.
var ErrUnfit = errors.New("the sandbox that was made ahead is another one")

// Prepare begins making the sandbox of cfg in cfg.Dir, a folder of its own.
// Args, Env, Cwd, Overlays, Keep, Own, the limits of time and ID may differ when it is
// started, and so may the sandbox's Resources, which can only be added to and
// changed. It returns when the shim lives.
func (l *Launcher) Prepare(ctx context.Context, cfg Config) (*Spare, error) {
	s, err := l.prepare(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot make a sandbox ahead: %w", err)
	}
	return s, nil
}

func (l *Launcher) prepare(ctx context.Context, cfg Config) (*Spare, error) {
	cfg.Args, cfg.Env, cfg.Cwd, cfg.Overlays, cfg.Keep = nil, nil, "/", nil, nil
	if err := cfg.ValidateAhead(); err != nil {
		return nil, err
	}
	run, err := l.complete(cfg, 0)
	if err != nil {
		return nil, err
	}
	run.Ahead = true
	shown, err := readTexts(run.Sandbox)
	if err != nil {
		return nil, err
	}
	lock, err := l.claim(ctx, run)
	if err != nil {
		return nil, err
	}
	ours, theirs, err := packet.Pair()
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	s := &Spare{launcher: l, config: cfg, texts: shown, run: run, conn: ours}
	s.shim, err = l.spawn(run, lock.File(), []*os.File{theirs})
	_ = theirs.Close()
	// Only the shim's copy counts now: who settles what a killed one left waits for it.
	_ = lock.Close()
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
	shown, err := readTexts(&want)
	if err != nil {
		return fmt.Errorf("cannot compare a sandbox: %w", err)
	}
	// Resources are set late, the upper folder is moved, and of the texts only what
	// is in them counts.
	for _, sb := range []*Sandbox{&have, &want} {
		sb.Resources, sb.ResolvConf, sb.Hosts = Resources{}, "", ""
		if sb.Upper != "" {
			sb.Upper = "own"
		}
	}
	if !reflect.DeepEqual(have, want) || shown != s.texts {
		return fmt.Errorf("%w: its settings differ", ErrUnfit)
	}
	if s.config.UID != cfg.UID || s.config.GID != cfg.GID || !slices.Equal(s.config.Groups, cfg.Groups) || !slices.Equal(s.config.Hide, cfg.Hide) {
		return fmt.Errorf("%w: its user or what it hides differ", ErrUnfit)
	}
	return nil
}

// texts are the files of the host that are shown as copies.
type texts struct{ resolvConf, hosts string }

func readTexts(sb *Sandbox) (t texts, err error) {
	if sb.ResolvConf != "" {
		t.resolvConf, err = readText(sb.ResolvConf)
	}
	if err == nil && sb.Hosts != "" {
		t.hosts, err = readText(sb.Hosts)
	}
	return t, err
}

func readText(path string) (string, error) {
	data, err := os.ReadFile(path)
	return string(data), err
}

// Start is Launcher.Start in the sandbox that was made ahead, which is used up by
// it, whether or not it succeeds. An upper folder in another place becomes
// cfg.Sandbox.Upper, which is empty and on the same file system.
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
	// Before the order: of a run that was begun nothing lies in the spare's folder.
	if err := s.moveUpper(ctx, cfg.Sandbox.Upper); err != nil {
		return nil, err
	}
	// Its processes and cgroups carry these names already.
	run.Nonce, run.CgroupPath = s.run.Nonce, s.run.CgroupPath
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

// moveUpper gives the upper folder of the root to the run. It is mounted by then,
// not looked for by its name.
func (s *Spare) moveUpper(ctx context.Context, to string) error {
	from := s.run.Sandbox.Upper
	if from == to {
		return nil
	}
	if err := s.Ready(ctx); err != nil {
		return err
	}
	// os.Rename refuses a folder that is there.
	if err := unix.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
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
				return newTask(run.Dir, h, s.shim.pidfd, s.shim), nil
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
	err := s.shim.kill()
	if err == nil {
		err = settleAll(append(dirs, s.run.Dir)...)
	}
	if err != nil { // what is in the folder tells the next start of it
		return err
	}
	return RemoveAll(s.run.Dir)
}

// Ready waits until the sandbox is made.
func (s *Spare) Ready(ctx context.Context) error {
	if s.ready {
		return nil
	}
	var w record.Word
	_, err := s.conn.Receive(ctx, &w)
	if err == nil && w.Failed != "" {
		err = errors.New(w.Failed)
	}
	if err != nil {
		return fmt.Errorf("cannot make a sandbox ahead: %w", err)
	}
	s.ready = true
	return nil
}

// Dir is the folder that it was made in.
func (s *Spare) Dir() string { return s.run.Dir }

// Remove takes the sandbox down, and its folder.
func (s *Spare) Remove() error {
	_ = s.conn.Close() // which tells the shim
	err := s.shim.reaped(s.launcher.patience)
	if errors.Is(err, errStays) {
		s.launcher.log.Warn("sandbox made ahead does not end, its shim is killed", "run", s.run.ID, "shim", s.shim.proc.Pid)
		err = s.shim.kill()
	} else {
		err = s.shim.gone(err)
	}
	if err == nil {
		err = settleAll(s.run.Dir) // one that was killed has left more than its folder
	}
	if err != nil {
		return err
	}
	return RemoveAll(s.run.Dir)
}
