package envcache

import (
	"fmt"
	"time"
)

// Steps that every package manager's work is told in, besides those that bear a
// program's name.
const (
	StepResolve  = "resolve"
	StepDownload = "download"
	StepBuild    = "build"
	StepInstall  = "install"
	StepCompile  = "compile"
)

const (
	linePause   = 10 * time.Second // between two lines about one step
	statusPause = time.Second      // between two looks at the bytes
)

// ranks order the steps. A manager may go to and fro between those of one rank:
// their lines come when all of them are over.
var ranks = map[string]int{StepResolve: 1, StepDownload: 1, StepBuild: 2, StepInstall: 3, StepCompile: 4}

// phases turns what a package manager says, which may be thousands of lines, into
// one line for each step, and one every few seconds while a step lasts. Its
// methods are called by a listener, for one line after the other.
type phases struct {
	tell func(Progress)
	now  func() time.Time

	step        string // that goes on; "" before the first
	since       time.Time
	line, shown time.Time // when the last line and the last status were told
	open        []*phase  // in order of their beginning
	done, total int64     // bytes
}

// phase is one step of one program.
type phase struct {
	step  string
	text  string // what there is to say of it
	spent time.Duration
}

func newPhases(tell func(Progress), now func() time.Time) *phases {
	return &phases{tell: tell, now: now, line: now()}
}

// enter says that step goes on from now.
func (p *phases) enter(step string) {
	if step == p.step {
		return
	}
	p.pause()
	p.flush(ranks[step])
	p.step = step
	p.current()
	p.status()
}

// note is what there is to say of the present step; the last note counts.
func (p *phases) note(format string, args ...any) {
	p.current().text = fmt.Sprintf(format, args...)
	p.beat()
}

// bytes says how much of the downloads is here, and how much there is as far as
// it is known.
func (p *phases) bytes(done, total int64) {
	p.done, p.total = done, total
	p.note("%s", megabytes(done, total))
}

// pass tells a line of the program itself, as a warning.
func (p *phases) pass(program, line string) {
	p.tell(Progress{Time: p.now(), Step: program, Text: line})
}

// end tells what is left to tell. Failed steps have no time that means something.
func (p *phases) end(well bool) {
	p.pause()
	if well {
		p.flush(len(ranks) + 1)
	}
}

// beat tells of a step that lasts.
func (p *phases) beat() {
	now := p.now()
	if now.Sub(p.line) >= linePause {
		p.line, p.shown = now, now
		p.tell(p.progress(p.current().text, 0))
	} else if now.Sub(p.shown) >= statusPause {
		p.status()
	}
}

// status tells what goes on without a line.
func (p *phases) status() {
	p.shown = p.now()
	p.tell(p.progress("", 0))
}

func (p *phases) progress(text string, took time.Duration) Progress {
	out := Progress{Time: p.now(), Step: p.step, Text: text, Took: took}
	if p.step == StepDownload {
		out.Done, out.Total = p.done, p.total
	}
	return out
}

func (p *phases) current() *phase {
	for _, ph := range p.open {
		if ph.step == p.step {
			return ph
		}
	}
	ph := &phase{step: p.step}
	p.open = append(p.open, ph)
	return ph
}

// pause counts the time of the present step up to now.
func (p *phases) pause() {
	now := p.now()
	if p.step != "" {
		p.current().spent += now.Sub(p.since)
	}
	p.since = now
}

// flush tells the lines of the steps that come before rank.
func (p *phases) flush(rank int) {
	left := p.open[:0]
	for _, ph := range p.open {
		if ranks[ph.step] >= rank {
			left = append(left, ph)
			continue
		}
		p.step, p.line = ph.step, p.now()
		text := ph.text
		if text == "" {
			text = "done"
		}
		p.tell(p.progress(text, max(ph.spent, time.Millisecond)))
	}
	p.open = left
}

// megabytes is "12.0 of 33.1 MB", or "33.1 MB" when all is here.
func megabytes(done, total int64) string {
	if total <= 0 || done >= total {
		return fmt.Sprintf("%.1f MB", float64(done)/1e6)
	}
	return fmt.Sprintf("%.1f of %.1f MB", float64(done)/1e6, float64(total)/1e6)
}
