package envcache

import (
	"regexp"
	"strconv"
	"strings"
)

// poetryListener reads what poetry and poetry.py say.
type poetryListener struct {
	packages    string
	files       string // that are being downloaded; "" if none are
	done, total int64  // bytes
}

var (
	poetryOperations  = regexp.MustCompile(`^Package operations: (\d+) installs?`)
	poetryDownloading = regexp.MustCompile(`^Downloading (\d+) files$`)
	poetryBuilding    = regexp.MustCompile(`^Building (\S+)$`)
)

func (l *poetryListener) hear(line string, p *phases) bool {
	if m := rawProgress.FindStringSubmatch(line); m != nil {
		l.done, _ = strconv.ParseInt(m[1], 10, 64)
		l.total, _ = strconv.ParseInt(m[2], 10, 64)
		l.download(p, "")
		return true
	}
	if m := poetryDownloading.FindStringSubmatch(line); m != nil {
		l.files = m[1] + " files"
		p.enter(StepDownload)
		l.download(p, "")
		return true
	}
	if m := poetryOperations.FindStringSubmatch(line); m != nil {
		l.packages = m[1] + " packages"
		l.install(p)
		return false
	}
	switch m := poetryBuilding.FindStringSubmatch(line); {
	case line == "Downloaded":
		l.files = ""
		l.install(p)
		return true
	case m != nil && l.files != "":
		l.download(p, ", building "+m[1])
	case m != nil:
		p.enter(StepBuild)
		p.note("%s", m[1])
	case strings.HasPrefix(line, "Updating dependencies"), strings.HasPrefix(line, "Installing dependencies from lock file"):
		p.enter(StepResolve)
	case strings.HasPrefix(line, "Warning: "):
		p.pass(ManagerPoetry, line)
	}
	return false
}

// download notes how far the downloads are. Poetry installs what it has while it
// downloads the rest.
func (l *poetryListener) download(p *phases, more string) {
	if l.files == "" {
		return // while resolving, files are read for what they depend on
	}
	p.bytes(l.done, l.total)
	p.note("%s", l.files+", "+megabytes(l.done, l.total)+more)
}

func (l *poetryListener) install(p *phases) {
	if l.files == "" && l.packages != "" {
		p.enter(StepInstall)
		p.note("%s", l.packages)
	}
}
