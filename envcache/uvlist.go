package envcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/samber/lo"
	"golang.org/x/sync/errgroup"
)

// list installs a list of requirements: resolved to a lock first, so that an
// environment that has the same packages is found, then from the lock.
func (u *uvRun) list(ctx context.Context) error {
	o, req := &u.p.options, u.s.req
	switch {
	case len(u.p.list.canon) == 0:
		if err := u.venv(ctx); err != nil {
			return err
		}
		return u.s.locked(ctx, Lock{Manager: ManagerUV, Python: req.Python.Version})
	case req.Lock != nil && o.direct:
		return errors.New("the lock names a path")
	case req.Lock != nil:
		return u.locked(ctx, func(context.Context) (Lock, error) {
			l := Lock{Manager: ManagerUV, Python: req.Python.Version, Packages: o.packages(), Indexes: req.Lock.Indexes}
			l.Built = req.Lock.Built || slices.ContainsFunc(l.Packages, func(p string) bool { return vcsPackage(p) })
			return l, nil
		})
	case o.direct:
		return u.direct(ctx)
	}
	return u.locked(ctx, u.resolve)
}

// packages are the lines that name one.
func (o *uvOptions) packages() []string {
	return lo.Filter(o.lines, func(l string, _ int) bool { return !strings.HasPrefix(l, "-") })
}

func vcsPackage(line string) bool {
	k := parseLine(line).kind
	return k == lineVCS || k == lineEditable
}

// locked makes the environment while the lock is found, and installs the lock.
func (u *uvRun) locked(ctx context.Context, find func(context.Context) (Lock, error)) error {
	var lock Lock
	g, both := errgroup.WithContext(ctx)
	g.Go(func() error { return u.venv(both) })
	g.Go(func() (err error) {
		if lock, err = find(both); err != nil {
			return err
		}
		return u.s.locked(both, lock)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return u.installLock(ctx, lock)
}

// installLock installs what a lock says and nothing else. A lock of an earlier run
// needs no index if all of it is here from earlier downloads.
func (u *uvRun) installLock(ctx context.Context, lock Lock) error {
	args := []string{"--no-deps", "--requirements", "-"}
	if !lock.Built {
		args = append(args, "--no-build") // nothing is: so nothing may be
	}
	text := strings.Join(slices.Concat(u.p.options.keep, lock.Packages), "\n") + "\n"
	if u.s.req.Lock != nil {
		err := u.install(ctx, uvInstall, justConfig, strings.NewReader(text), append(args, "--offline")...)
		var failed *BuildError
		if !errors.As(err, &failed) || failed.Err != nil {
			return err
		}
		u.s.say(ManagerUV, "not all packages of the lock are here from earlier downloads, the index is asked")
	}
	return u.install(ctx, uvInstall, justConfig, strings.NewReader(text), args...)
}

// resolve lets uv resolve the list, if need be without its optional packages: uv tells
// of no single one that it is to blame.
func (u *uvRun) resolve(ctx context.Context) (Lock, error) {
	l, err := u.resolveOnce(ctx)
	if err == nil || ctx.Err() != nil || !exited(err) {
		return l, err
	}
	without := lo.Reject(u.p.options.lines, func(line string, _ int) bool { return u.s.req.optional(parseLine(line).name) })
	if len(without) == len(u.p.options.lines) {
		return l, err
	}
	left, _ := lo.Difference(u.p.options.lines, without)
	u.s.say(ManagerUV, "WARNING: the list can't be resolved, and is tried without its optional packages: "+strings.Join(left, ", "))
	u.p.options.lines = without
	return u.resolveOnce(ctx)
}

// resolveOnce has uv's answer come by a pipe: what a package's build may have done to
// files does not count.
func (u *uvRun) resolveOnce(ctx context.Context) (Lock, error) {
	args, err := u.asked()
	if err != nil {
		return Lock{}, err
	}
	out := &limited{most: mostReport}
	err = u.run(ctx, ManagerUV, u.lines(), out, append([]string{
		"pip", "compile", "--config-file", u.config(askConfig), "--python", u.s.req.Python.Path, "--format", "pylock.toml", "--no-header", "-",
	}, args...)...)
	if err != nil {
		return Lock{}, err
	}
	var r pylock
	if err := toml.Unmarshal(out.Bytes(), &r); err != nil {
		return Lock{}, fmt.Errorf("cannot read what uv resolved the requirements to: %w", err)
	}
	l, err := r.lock(u.s.req.Python.Version, &u.p.options)
	l.Indexes = lo.Filter(u.p.list.options, func(o string, _ int) bool { return indexOption.MatchString(o) })
	return l, err
}

func (u *uvRun) lines() *strings.Reader {
	return strings.NewReader(strings.Join(u.p.options.lines, "\n") + "\n")
}

// asked are arguments for what the list and the request ask for.
func (u *uvRun) asked() ([]string, error) {
	var args []string
	if u.p.options.pre {
		args = append(args, "--prerelease", "allow")
	}
	if u.p.noDeps {
		args = append(args, "--no-deps")
	}
	if len(u.p.list.constraints) == 0 {
		return args, nil
	}
	const name = "constraints.txt"
	return append(args, "--constraints", u.config(name)), u.s.private(u.home, name, strings.Join(u.p.list.constraints, "\n")+"\n")
}

// direct installs without a lock what comes from folders: what they hold can't
// be told by a line.
func (u *uvRun) direct(ctx context.Context) error {
	args, err := u.asked()
	if err != nil {
		return err
	}
	if err := u.venv(ctx); err != nil {
		return err
	}
	if u.p.list.local {
		if err := u.copyCheckout(ctx); err != nil {
			return err
		}
	}
	if u.p.options.hashed {
		args = append(args, "--require-hashes")
	}
	return u.install(ctx, ManagerUV, askConfig, u.lines(), append(args, "--requirements", "-")...)
}

// limited keeps what a program writes, up to a limit.
type limited struct {
	bytes.Buffer
	most int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.most {
		return 0, errors.New("too much output")
	}
	return l.Buffer.Write(p)
}
