package envcache

import (
	"context"
	"os"
	"time"

	"agentctl/envcache/internal/secret"
)

// builder makes environments with one package manager; each has a file of its
// own. It is asked for a plan on every request, hits included, so planning must
// run no program and read no more than a few small files.
type builder interface {
	plan(ctx context.Context, req Request, say func(Progress)) (plan, error)
}

// plan is what a builder is going to do for one request.
type plan struct {
	// parts are what decides the content, beyond what all managers share.
	parts []Part
	// wishes name those parts that a lock answers: two requests whose parts differ
	// in wishes only, and that are resolved to one lock, get one environment.
	wishes []string
	// brings tells that the interpreter comes with the packages: the request's own
	// does not decide the content.
	brings bool
	// unpinned: the same plan may give other files next month.
	unpinned bool
	// reads are folders of the state folder, outside the environment, that it
	// needs at run time.
	reads []string
	// origin says where the files come from, if they are not installed.
	origin string
	// notes are told to the user when the environment is built.
	notes []string
	// secrets removes from what a person reads what the plan knows as secret.
	secrets *secret.Redactor
	// build fills the environment. It makes the interpreter (site.venv), and calls
	// site.locked as soon as it knows what the request is resolved to.
	build func(ctx context.Context, s *site) error
}

// site is the place where one environment is built.
type site struct {
	path, work string // the environment; private scratch
	root       *os.Root
	req        Request
	uid, gid   int
	now        func() time.Time
	say        func(step, text string)
	tell       func(Progress)
	unlocked   bool // programs have logins
	// run runs a program as the owner of the environment, failing with a *BuildError.
	// A step that listeners names is told in the steps that its listener hears, any
	// other by the program's lines.
	run func(ctx context.Context, step string, c Cmd) error
	// listen is run for a program some of whose lines are for us: events gets each
	// as it is, secrets and all, and tells whether it was one.
	listen func(ctx context.Context, step string, c Cmd, events func(line string, p *phases) bool) error
	// locked tells what the request was resolved to, at most once per build. An
	// error of it is to be returned as it is: another environment fits.
	locked func(ctx context.Context, l Lock) error
	// foreign tells that code of a package runs, or ran, in this build. It could write
	// anything into the environment and into what tells the lock, so the lock alone
	// no longer vouches for the files. To be called before the lock is believed.
	foreign func()
	// unsure tells that code of installed wheels could have a say in what tells the
	// lock: then nobody else gets this environment for it.
	unsure func()
	// variables of the environment that a task starts with, as KEY=VALUE.
	variables []string
}
