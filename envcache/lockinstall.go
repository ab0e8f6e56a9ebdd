package envcache

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/internal/fsx"
	"github.com/samber/lo"
)

// pipKeeping is the program that an interpreter runs in place of pip's own: pip,
// but what it downloads stays, as long as the build does, for the wheelhouse. A pip
// that has no such list keeps nothing, and works as ever.
const pipKeeping = `import sys
sys.path.insert(0, %q)
try:
    from pip._internal.cli import req_command
    req_command.KEEPABLE_TEMPDIR_TYPES[:] = ["unpack"]
except (ImportError, AttributeError, TypeError):
    pass
from pip._internal.cli.main import main
sys.exit(main())
`

// keepingPip writes that program and gives the arguments that run it.
func (s *site) keepingPip(tool pipTool) ([]string, error) {
	home := filepath.Join(s.work, "home")
	if err := s.private(home, "pip.py", fmt.Sprintf(pipKeeping, tool.dir)); err != nil {
		return nil, err
	}
	return []string{filepath.Join(s.path, "bin", "python"), "-I", filepath.Join(home, "pip.py"), "install", "--no-clean"}, nil
}

// keepDownloads fills the wheelhouse with what a run of pip fetched. It is no
// failure of a build that it can't.
func (s *site) keepDownloads(r report) {
	house, err := s.openHouse()
	if err == nil {
		err = house.keep(s, r)
	}
	if err != nil {
		s.say("pip", "not all downloads are kept: "+err.Error())
	}
}

// installLock installs what a lock says and nothing else: from the wheelhouse,
// without any index, if it has all of it; else from the indexes.
func (j *pipJob) installLock(ctx context.Context) error {
	s, lock := j.site, j.site.req.Lock
	if err := s.locked(ctx, *lock); err != nil {
		return err
	}
	runs := lockRuns(j.plan, s.req)
	// In the wheelhouse is what was built from source, in whatever order.
	if kept, err := s.fromHouse(j.plan.list); err == nil && (!lock.Built || len(j.plan.order(s.req)) == 0) {
		s.say("pip", fmt.Sprintf("all %d packages of the lock are here from earlier downloads", len(lock.Packages)))
		err = j.run(ctx, kept.pipRun)
		var failed *BuildError
		if err == nil || ctx.Err() != nil || !errors.As(err, &failed) || failed.Err != nil {
			return err
		}
		s.say("pip", "what is here does not do, the index is asked")
		if err := kept.dropBad(); err != nil {
			return err
		}
	}
	for _, r := range runs {
		if err := j.run(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// lockRuns are the runs of pip that install a lock from the indexes. A commit has no
// digest that pip could check, and pip takes no such package beside those that have.
func lockRuns(p *pipPlan, req Request) []pipRun {
	args := []string{"--no-deps"}
	if !req.Lock.Built {
		// Else a lock that says that it has wheels only could have code run, and its
		// key would not tell.
		args = append(args, "--only-binary", ":all:")
	} else {
		args = append(args, buildFlags(req)...)
	}
	groups, options := p.groups(req)
	var runs []pipRun
	for _, g := range groups {
		for _, commits := range []bool{false, true} {
			lines := lo.FilterMap(g, func(l reqLine, _ int) (string, bool) { return l.raw, (l.kind == lineVCS) == commits })
			if len(lines) > 0 {
				runs = append(runs, pipRun{lines: slices.Concat(p.settings.lines(), options, lines), args: args})
			}
		}
	}
	return runs
}

// kept is a lock of which the wheelhouse has all files.
type kept struct {
	pipRun
	house   *wheelhouse
	digests []string
}

// fromHouse makes an index of one's own, of one file per package, out of what is
// in the wheelhouse. The digest of each file stands in its link, and pip checks it.
func (s *site) fromHouse(list reqList) (kept, error) {
	house, err := s.openHouse()
	if err != nil {
		return kept{}, err
	}
	k := kept{house: house}
	wheels, pages := filepath.Join(s.work, "wheels"), filepath.Join(s.work, "index")
	if err := errors.Join(os.Mkdir(wheels, 0o755), os.Mkdir(pages, 0o755)); err != nil {
		return kept{}, err
	}
	k.lines = []string{"--index-url file://" + (&url.URL{Path: pages}).EscapedPath()}
	for _, raw := range list.lines {
		l := parseLine(raw)
		switch l.kind {
		case lineOption:
			continue
		case lineName:
			digest, link, err := s.inHouse(house, l, wheels)
			if err != nil {
				return kept{}, fmt.Errorf("%s is not here: %w", l.name, err)
			}
			k.digests = append(k.digests, digest)
			page := fmt.Sprintf("<!DOCTYPE html>\n<a href=\"%s#sha256=%s\">%s</a>\n", html.EscapeString(link), digest, html.EscapeString(path.Base(link)))
			if err := writePage(filepath.Join(pages, l.name), page); err != nil {
				return kept{}, err
			}
			k.lines = append(k.lines, l.name+l.value)
		default: // pip's own cache may have it
			words, _ := splitOptions(raw)
			k.lines = append(k.lines, words+fragmentOf(l))
		}
	}
	if k.args = []string{"--no-deps"}; s.req.Lock.Built {
		k.args = append(k.args, buildFlags(s.req)...)
	}
	return k, nil
}

// fragmentOf has pip check the digest of a file that is named by its URL.
func fragmentOf(l reqLine) string {
	for _, o := range l.opts {
		if digest, ok := strings.CutPrefix(o, "--hash=sha256:"); ok {
			sep := "#"
			if strings.Contains(l.value, "#") {
				sep = "&"
			}
			return sep + "sha256=" + digest
		}
	}
	return ""
}

func writePage(dir, page string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return fsx.ReplaceFile(filepath.Join(dir, "index.html"), []byte(page), 0o644)
}

// inHouse finds one of the files that a line allows, and gives its URL. Archives of
// source are taken for locks only that say that they have such.
func (s *site) inHouse(house *wheelhouse, l reqLine, wheels string) (digest, link string, err error) {
	for _, o := range l.opts {
		digest, _ = strings.CutPrefix(o, "--hash=sha256:")
		file, err := house.take(digest, wheels, s.now())
		if err == nil {
			return digest, "file://" + (&url.URL{Path: file}).EscapedPath(), nil
		}
		if link, err := house.source(digest); err == nil && s.req.Lock.Built {
			return digest, link, nil
		}
	}
	return "", "", os.ErrNotExist
}

// dropBad forgets those files that were not what they were kept for.
func (k kept) dropBad() error {
	var failed error
	for _, d := range k.digests {
		failed = errors.Join(failed, k.house.drop(d))
	}
	return failed
}
