package envcache

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/envcache/internal/secret"
)

const (
	pipReport  = "report.json"
	mostReport = 64 << 20
	// reportPause is how often a running pip's report is looked for: much shorter
	// than any installation, much longer than the look.
	reportPause = 20 * time.Millisecond
)

// pipRunsCode is how pip says, before it does so, that it starts code of a package:
// "Preparing metadata (pyproject.toml): started". Wheels are installed without such
// a line.
var pipRunsCode = regexp.MustCompile(`: started$`)

// report is the part of pip's installation report that a lock is made of.
// https://pip.pypa.io/en/stable/reference/installation-report/
type report struct {
	Version string `json:"version"`
	Install []struct {
		IsDirect     bool `json:"is_direct"`
		DownloadInfo struct {
			URL     string `json:"url"`
			Subdir  string `json:"subdirectory"`
			VCSInfo *struct {
				VCS    string `json:"vcs"`
				Commit string `json:"commit_id"`
			} `json:"vcs_info"`
			Archive *struct {
				Hashes map[string]string `json:"hashes"`
			} `json:"archive_info"`
		} `json:"download_info"`
		Metadata struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"metadata"`
	} `json:"install"`
}

// lock adds what the report says to the lock l. It fails where a package has
// neither a digest nor a commit, as one from a folder: what it was can't be told
// again.
func (r report) lock(l Lock) (Lock, error) {
	for _, it := range r.Install {
		name, version, info := normalName(it.Metadata.Name), it.Metadata.Version, it.DownloadInfo
		if !plain(name) || strings.ContainsAny(version, " \n\t;#") || name == "" {
			return Lock{}, fmt.Errorf("the report names a package %q", shorten(name+" "+version))
		}
		link, _ := secret.SplitURL(info.URL)
		sha := ""
		if info.Archive != nil {
			sha = info.Archive.Hashes["sha256"]
		}
		fragment := ""
		if info.Subdir != "" {
			fragment = "#subdirectory=" + info.Subdir
		}
		switch {
		case info.VCSInfo != nil:
			l.Packages = append(l.Packages, name+" @ "+info.VCSInfo.VCS+"+"+link+"@"+info.VCSInfo.Commit+fragment)
			l.Built = true
		case sha == "":
			return Lock{}, fmt.Errorf("%s has no digest", name)
		case it.IsDirect:
			l.Packages = append(l.Packages, name+" @ "+link+fragment+" --hash=sha256:"+sha)
		default:
			l.Packages = append(l.Packages, name+"=="+version+" --hash=sha256:"+sha)
		}
		l.Built = l.Built || !strings.HasSuffix(link, ".whl")
	}
	slices.Sort(l.Packages)
	return l, nil
}

// over is the report of two runs: packages that the later one installed in the
// place of others count.
func (r report) over(before report) report {
	replaced := map[string]bool{}
	for _, it := range r.Install {
		replaced[normalName(it.Metadata.Name)] = true
	}
	for _, it := range before.Install {
		if !replaced[normalName(it.Metadata.Name)] {
			r.Install = append(r.Install, it)
		}
	}
	return r
}

// reportWatch says what to do with a report.
type reportWatch struct {
	file   string // in the home of the build
	before report // of earlier runs
	over   Lock   // of what is installed already, to which the reports are added
}

// reported runs a program and settles the lock as soon as its report is there.
func (s *site) reported(ctx context.Context, w reportWatch, program func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended, settled := make(chan struct{}), make(chan error, 1)
	go func() {
		err := s.settleReport(ctx, ended, w)
		if err != nil {
			cancel(err)
		}
		settled <- err
	}()
	err := program(ctx)
	close(ended)
	if serr := <-settled; serr != nil {
		return serr // the program was ended for it
	}
	return err
}

// settleReport waits for the report, or for the program's end, and tells what was
// resolved.
func (s *site) settleReport(ctx context.Context, ended <-chan struct{}, w reportWatch) error {
	tick := time.NewTicker(reportPause)
	defer tick.Stop()
	for last := false; ; {
		if r, ok := s.readReport(w.file); ok {
			lock, err := r.over(w.before).lock(w.over)
			if err != nil {
				s.say(s.req.Manager, "the packages can't be locked: "+err.Error())
				return nil
			}
			return s.locked(ctx, lock)
		}
		if last {
			return nil
		}
		select {
		case <-ended:
			last = true // it may have come since the last look
		case <-tick.C:
		}
	}
}

// readReport reads the report if it is whole. A package's build may have put
// anything in its place, so links are not followed.
func (s *site) readReport(file string) (r report, ok bool) {
	f, err := os.OpenFile(filepath.Join(s.work, "home", file), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return r, false
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return r, false
	}
	data, err := io.ReadAll(io.LimitReader(f, mostReport))
	return r, err == nil && json.Unmarshal(data, &r) == nil && r.Version == "1"
}
