package envcache

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// uvInstall is the step of an installation from a lock: uv's word that it
// resolved the lock once more is no news.
const uvInstall = "uv install"

// uvLog has uv say when it starts code of a package: it may do so to learn what a
// package needs, without a word.
const uvLog = "RUST_LOG=uv_build_frontend=debug"

var uvRunsCode = regexp.MustCompile("^DEBUG Calling |^ *Building ")

// uvListener reads what uv says when nobody looks at a terminal.
type uvListener struct {
	locked      bool
	sizes       map[string]int64 // of downloads under way
	done, total int64
	built       int
}

func newUVListener(locked bool) func() listener {
	return func() listener { return (&uvListener{locked: locked, sizes: map[string]int64{}}).hear }
}

var (
	uvDone     = regexp.MustCompile(`^(Resolved|Prepared|Installed) (\d+) packages? in (\S.*)$`)
	uvLoading  = regexp.MustCompile(`^ *Downloading (\S+) \(([0-9.]+)(B|KiB|MiB|GiB)\)$`)
	uvLoaded   = regexp.MustCompile(`^ *Downloaded (\S+)$`)
	uvBuilding = regexp.MustCompile(`^ *Building (\S+)`)
)

// uvSteps are the steps that uv tells the times of.
var uvSteps = map[string]string{"Resolved": StepResolve, "Installed": StepInstall}

// hear is the listener.
func (l *uvListener) hear(line string, p *phases) bool {
	if m := uvDone.FindStringSubmatch(line); m != nil {
		l.over(m, p)
		return false
	}
	if m := uvLoading.FindStringSubmatch(line); m != nil {
		n, _ := strconv.ParseFloat(m[2], 64)
		size := int64(n * map[string]float64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[m[3]])
		l.sizes[m[1]], l.total = size, l.total+size
		p.enter(StepDownload)
		p.bytes(l.done, l.total)
		return false
	}
	if m := uvLoaded.FindStringSubmatch(line); m != nil {
		p.enter(StepDownload)
		l.done += l.sizes[m[1]]
		p.bytes(l.done, l.total)
		return false
	}
	if m := uvBuilding.FindStringSubmatch(line); m != nil {
		p.enter(StepBuild)
		l.built++
		p.note("%s", m[1])
		if l.built > 1 {
			p.note("%d packages, %s the last", l.built, m[1])
		}
		return false
	}
	if strings.HasPrefix(line, "warning: ") {
		p.pass(ManagerUV, line)
	}
	return strings.HasPrefix(line, "Using Python ") || strings.HasPrefix(line, "DEBUG ")
}

// over takes a line about a step that is done.
func (l *uvListener) over(m []string, p *phases) {
	if step := uvSteps[m[1]]; step != "" && (step != StepResolve || !l.locked) {
		p.enter(step)
		p.note("%s packages", m[2])
		if took, err := time.ParseDuration(strings.ReplaceAll(m[3], " ", "")); err == nil {
			p.current().spent = took
		}
	} else {
		p.pause()
	}
	p.step = "" // what comes next says so
}
