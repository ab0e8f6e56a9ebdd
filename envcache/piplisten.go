package envcache

import (
	"regexp"
	"strconv"
	"strings"
)

// listener takes one line of a program, without secrets and control characters.
// It tells the steps in it, and whether the line is noise that an error message
// is better without.
type listener func(line string, p *phases) (noise bool)

// listeners of the programs that work in steps, by the name that site.run is
// given; each gets a new one per run. What other programs say is told as it is.
var listeners = map[string]func() listener{
	ManagerPip:    func() listener { return (&pipListener{names: map[string]bool{}}).hear },
	ManagerPoetry: func() listener { return (&poetryListener{}).hear },
	ManagerUV:     newUVListener(false),
	uvInstall:     newUVListener(true),
}

// pipListener reads the output of `pip install --progress-bar raw`.
type pipListener struct {
	names    map[string]bool // of packages that were looked at
	files    int             // taken from pip's own cache
	fetched  int64           // bytes of finished downloads
	now, all int64           // of the present one
	built    int
}

var (
	rawProgress   = regexp.MustCompile(`^Progress (\d+) of (\d+)$`)
	pipCollecting = regexp.MustCompile(`^(?:Collecting|Processing|Obtaining|Requirement already satisfied:) +([^\s<>=!~;\[]+)`)
	pipFile       = regexp.MustCompile(`^ *(Downloading|Using cached) (\S+)(?: \(([0-9.]+) (bytes|kB|MB|GB)\))?$`)
	pipPreparing  = regexp.MustCompile(`^ +(Installing build dependencies|Getting requirements to build|Preparing metadata)`)
	pipInstalling = regexp.MustCompile(`^Installing collected packages: (.*)$`)
	pipBuilding   = regexp.MustCompile(`^ *Building (?:wheel|editable) for (\S+) .*: (started|finished)`)
)

// hear is the listener.
func (l *pipListener) hear(line string, p *phases) bool {
	if m := rawProgress.FindStringSubmatch(line); m != nil {
		l.now, _ = strconv.ParseInt(m[1], 10, 64)
		l.all, _ = strconv.ParseInt(m[2], 10, 64)
		p.enter(StepDownload)
		l.tellBytes(p)
		return true
	}
	if l.all > 0 { // that download is over
		l.fetched, l.now, l.all = l.fetched+l.all, 0, 0
		l.tellBytes(p)
	}
	if m := pipFile.FindStringSubmatch(line); m != nil {
		l.file(m, p)
		return false
	}
	switch {
	case strings.HasPrefix(line, "WARNING: ") || strings.HasPrefix(line, "DEPRECATION: "):
		p.pass(ManagerPip, line)
	case strings.HasPrefix(line, "Building wheels for collected packages"):
		p.enter(StepBuild)
	case strings.HasPrefix(line, "Looking in ") || pipPreparing.MatchString(line):
		p.enter(StepResolve)
	default:
		l.packages(line, p)
	}
	return false
}

// file takes the line about one file that comes over the network, or needn't.
func (l *pipListener) file(m []string, p *phases) {
	if strings.HasSuffix(m[2], ".metadata") {
		return
	}
	p.enter(StepDownload)
	if m[1] == "Using cached" {
		l.files++
	} else {
		n, _ := strconv.ParseFloat(m[3], 64)
		l.all = int64(n * map[string]float64{"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[m[4]])
	}
	l.tellBytes(p)
}

func (l *pipListener) tellBytes(p *phases) {
	done, total := l.fetched+l.now, l.fetched+l.all
	p.bytes(done, total)
	if l.files > 0 {
		p.note("%s, and %d files from earlier downloads", megabytes(done, total), l.files)
	}
}

func (l *pipListener) packages(line string, p *phases) {
	if m := pipCollecting.FindStringSubmatch(line); m != nil {
		p.enter(StepResolve)
		l.names[normalName(m[1])] = true
		p.note("%d packages", len(l.names))
		return
	}
	if m := pipBuilding.FindStringSubmatch(line); m != nil {
		p.enter(StepBuild)
		if m[2] == "started" {
			l.built++
			p.note("%s", m[1])
		}
		if l.built > 1 {
			p.note("%d packages, %s the last", l.built, m[1])
		}
		return
	}
	if m := pipInstalling.FindStringSubmatch(line); m != nil {
		p.enter(StepInstall)
		p.note("%d packages", strings.Count(m[1], ",")+1)
	}
}
