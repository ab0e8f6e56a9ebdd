package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// orderPart is of a request whose packages are installed by several runs of pip.
// What a package's build finds depends on it.
const orderPart = "order"

// pipRun is one run of pip.
type pipRun struct {
	lines    []string // of the requirements file, the indexes included
	args     []string
	optional string // the one package that it is for, which the environment may be without
}

// order tells which packages of the list are installed before and after the
// rest; nil if they are installed at once.
func (p *pipPlan) order(req Request) []string {
	var order []string
	for i, names := range [][]string{req.Priority, req.Post, req.PriorityOptional, req.PostOptional} {
		for _, n := range names {
			if n = normalName(n); slices.ContainsFunc(p.list.lines, func(l string) bool { return parseLine(l).name == n }) {
				order = append(order, []string{"first ", "last ", "first, or not at all, ", "last, or not at all, "}[i]+n)
			}
		}
	}
	return lo.Uniq(order)
}

// answered are those of wishes that a lock answers: it says which wheels there
// are, and not what a build from source finds.
func answered(l Lock, wishes []string) []string {
	if l.Built {
		return lo.Without(wishes, orderPart, flagsPart)
	}
	return wishes
}

// groups are the packages of the list: those that are installed before, at, and
// after the rest, each that may lack by itself; options apply to all of them.
func (p *pipPlan) groups(req Request) (groups [][]reqLine, options []string) {
	var first, maybeFirst, rest, last, maybeLast []reqLine
	for _, raw := range p.list.lines {
		l := parseLine(raw)
		l.raw = raw
		switch named := func(n string) bool { return p.ordered && l.name != "" && normalName(n) == l.name }; {
		case l.kind == lineOption || l.kind == lineInclude || l.kind == lineConstr:
			options = append(options, raw)
		case l.name != "" && p.lacking[l.name]:
		case slices.ContainsFunc(req.Priority, named):
			first = append(first, l)
		case slices.ContainsFunc(req.Post, named):
			last = append(last, l)
		case slices.ContainsFunc(req.PriorityOptional, named):
			maybeFirst = append(maybeFirst, l)
		case slices.ContainsFunc(req.PostOptional, named):
			maybeLast = append(maybeLast, l)
		default:
			rest = append(rest, l)
		}
	}
	name := func(l reqLine) string { return l.name } // all lines of one are left out together
	groups = slices.Concat([][]reqLine{first}, lo.PartitionBy(maybeFirst, name), [][]reqLine{rest, last}, lo.PartitionBy(maybeLast, name))
	return slices.DeleteFunc(groups, func(g []reqLine) bool { return len(g) == 0 }), options
}

// listRuns are the runs that resolve and install the list. Each repeats what the
// runs before it asked for: else pip would replace those packages by any version
// that suits the new ones.
func listRuns(p *pipPlan, req Request) []pipRun {
	groups, options := p.groups(req)
	hashed := slices.Contains(options, "--require-hashes") || slices.Contains(req.InstallFlags, "--require-hashes") ||
		slices.ContainsFunc(lo.Flatten(groups), func(l reqLine) bool { return len(l.opts) > 0 })
	before := slices.Concat(p.settings.lines(), options)
	var runs []pipRun
	for i, g := range groups {
		run := pipRun{lines: slices.Clone(before), args: slices.Clone(req.InstallFlags)}
		if name := g[0].name; p.ordered && req.optional(name) {
			run.optional = name
		}
		if hashed && i < len(groups)-1 {
			// What a package depends on stands in the list with its digest, maybe later.
			run.args = append(run.args, "--no-deps")
		}
		for _, l := range g {
			run.lines = append(run.lines, l.raw)
			if l.kind == lineName { // pip would install what has an address again
				before = append(slices.Clip(before), l.raw)
			}
		}
		runs = append(runs, run)
	}
	return runs
}

// pipJob is what the runs of pip of one build share.
type pipJob struct {
	site *site
	plan *pipPlan
	cmd  Cmd
	runs int
	// known is the report of all runs so far; lost if one of them has none.
	known report
	lost  bool
}

// install runs pip. Whatever may be secret or long goes to it by files. What pip
// resolved the list to is in its report, which it writes before it installs: if
// another environment turns out to have the same packages, pip is ended there.
func (b *pipBuilder) install(ctx context.Context, s *site, p *pipPlan, dir string) error {
	home := filepath.Join(s.work, "home")
	cache, err := s.downloads(ManagerPip)
	if err != nil {
		return err
	}
	if err := s.unlock(ctx, p.access, p.list.links...); err != nil {
		return err
	}
	args, err := s.keepingPip(p.tool)
	if err != nil {
		return err
	}
	args = append(args, "--no-input", "--no-color", "--disable-pip-version-check", "--no-warn-script-location",
		"--progress-bar", p.tool.progress(), "--no-compile", "--cache-dir", cache)
	if len(p.list.constraints) > 0 {
		if err := s.private(home, "constraints.txt", strings.Join(p.list.constraints, "\n")+"\n"); err != nil {
			return err
		}
		args = append(args, "-c", filepath.Join(home, "constraints.txt"))
	}
	j := &pipJob{
		site: s, plan: p, cmd: Cmd{Args: args, Dir: dir, Env: s.env(b.getenv, p.access, p.variables...)},
		lost: !p.tool.reports() || p.over.Manager == "",
	}
	if s.req.Lock != nil {
		err = j.installLock(ctx)
	} else {
		err = j.installList(ctx)
	}
	var failed *BuildError
	if errors.As(err, &failed) {
		failed.Cause = cmp.Or(j.diagnose(ctx, failed), failed.Cause)
	}
	if err != nil {
		return err
	}
	return s.compile(ctx)
}

// indexOption are the options of a list that say where packages come from.
var indexOption = regexp.MustCompile(`^--(index-url|extra-index-url|find-links|trusted-host) `)

// installList has pip resolve the list and install it. The lock is known when the
// last run has resolved its part.
func (j *pipJob) installList(ctx context.Context) error {
	runs := listRuns(j.plan, j.site.req)
	// Whether the last one is there is known when it is: too late for a lock.
	j.lost = j.lost || len(runs) > 0 && runs[len(runs)-1].optional != ""
	for i := 0; i < len(runs); i++ {
		r := runs[i]
		if j.runs > 0 {
			// pip runs on the environment's own Python, which runs code of what is
			// installed there (.pth files): it could write this run's report.
			j.site.unsure()
		}
		var err error
		if i < len(runs)-1 || j.lost {
			err = j.run(ctx, r)
		} else {
			err = j.last(ctx, r)
		}
		if err == nil {
			continue
		}
		if r.optional == "" || ctx.Err() != nil || !exited(err) {
			return err
		}
		j.site.say(ManagerPip, "WARNING: "+r.optional+" can't be installed, and is left out: it is one of the optional packages")
		j.plan.lacking[r.optional] = true
		runs = listRuns(j.plan, j.site.req)
		i-- // the next one is in its place
	}
	return nil
}

// last is the run that completes the lock.
func (j *pipJob) last(ctx context.Context, r pipRun) error {
	over := j.plan.over
	over.Indexes = lo.Filter(j.plan.list.options, func(o string, _ int) bool { return indexOption.MatchString(o) })
	w := reportWatch{file: reportName(j.runs + 1), before: j.known, over: over}
	return j.site.reported(ctx, w, func(ctx context.Context) error { return j.run(ctx, r) })
}

// exited tells whether a program has failed by itself.
func exited(err error) bool {
	var failed *BuildError
	return errors.As(err, &failed) && failed.Err == nil
}

// reportName is the file of the run with number i.
func reportName(i int) string {
	if i == 1 {
		return pipReport
	}
	return fmt.Sprintf("%d-%s", i, pipReport)
}

// run is one run of pip.
func (j *pipJob) run(ctx context.Context, r pipRun) error {
	s := j.site
	j.runs++
	home, list := filepath.Join(s.work, "home"), fmt.Sprintf("requirements-%d.txt", j.runs)
	if err := s.private(home, list, strings.Join(r.lines, "\n")+"\n"); err != nil {
		return err
	}
	cmd := j.cmd
	cmd.Args = slices.Concat(j.cmd.Args, r.args, []string{"-r", filepath.Join(home, list)})
	if j.plan.tool.reports() {
		cmd.Args = append(cmd.Args, "--report", filepath.Join(home, reportName(j.runs)))
	}
	if err := s.run(ctx, ManagerPip, cmd); err != nil {
		return err
	}
	if rep, ok := s.readReport(reportName(j.runs)); ok {
		j.known = rep.over(j.known)
		s.keepDownloads(rep)
	} else {
		j.lost = true
	}
	return nil
}
