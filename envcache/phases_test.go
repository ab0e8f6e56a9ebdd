package envcache

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// clocked hears what listeners tell, at a time that the test moves.
type clocked struct {
	at    time.Time
	heard []Progress
}

func (c *clocked) phases() *phases {
	return newPhases(func(p Progress) { c.heard = append(c.heard, p) }, func() time.Time { return c.at })
}

// lines are those for the console.
func (c *clocked) lines() []string {
	var lines []string
	for _, p := range c.heard {
		if p.Text != "" {
			lines = append(lines, p.String())
		}
	}
	return lines
}

// What pip says in a real run becomes a line per step, with the time that was
// spent in it, in however many pieces.
func TestPipIsToldInSteps(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/pip.txt")
	if err != nil {
		t.Fatal(err)
	}
	c := &clocked{at: time.Unix(1_700_000_000, 0)}
	p, hear := c.phases(), listeners[ManagerPip]()
	var kept []string
	for line := range strings.Lines(string(text)) {
		c.at = c.at.Add(100 * time.Millisecond)
		if line = strings.TrimRight(line, "\n"); !hear(line, p) {
			kept = append(kept, line)
		}
	}
	p.end(true)
	want := []string{
		"resolve: 7 packages (1.4s)", "download: 1.5 MB (1s)", "build: docopt (600ms)", "install: 7 packages (100ms)",
	}
	if got := c.lines(); !slices.Equal(got, want) {
		t.Fatalf("told %q, not %q", got, want)
	}
	if slices.ContainsFunc(kept, func(l string) bool { return strings.HasPrefix(l, "Progress") }) || len(kept) < 20 {
		t.Fatalf("kept for errors: %q", kept)
	}
}

// A long download is told every few seconds on the console, and every second in
// the state.
func TestLongDownload(t *testing.T) {
	t.Parallel()
	c := &clocked{at: time.Unix(1_700_000_000, 0)}
	p, hear := c.phases(), listeners[ManagerPip]()
	hear("Collecting big", p)
	hear("  Downloading big-1.0-py3-none-any.whl (60.0 MB)", p)
	for i := range 100 { // 25 seconds
		c.at = c.at.Add(250 * time.Millisecond)
		if !hear(fmt.Sprintf("Progress %d of 60000000", i*600_000), p) {
			t.Fatal("not taken")
		}
	}
	if got := c.lines(); !slices.Equal(got, []string{"download: 23.4 of 60.0 MB", "download: 47.4 of 60.0 MB"}) {
		t.Fatalf("told %q", got)
	}
	states := slices.DeleteFunc(c.heard, func(p Progress) bool { return p.Text != "" || p.Step != StepDownload })
	if last := states[len(states)-1]; len(states) < 20 || last.Total != 60_000_000 || last.Done < 50_000_000 {
		t.Fatalf("%d states, the last %+v", len(states), last)
	}
	if hear("Progress bar is nice", p) {
		t.Fatal("took what is no progress")
	}
}

// Poetry installs while it downloads.
func TestPoetryIsToldInSteps(t *testing.T) {
	t.Parallel()
	c := &clocked{at: time.Unix(1_700_000_000, 0)}
	p, hear := c.phases(), listeners[ManagerPoetry]()
	for _, line := range []string{
		"Installing dependencies from lock file", "Downloading 2 files", "Package operations: 3 installs, 0 updates, 0 removals",
		"  - Installing six (1.17.0)", "Progress 1000000 of 3000000", "Warning: it is yanked", "Progress 3000000 of 3000000", "Downloaded", "Building a-1.0",
	} {
		c.at = c.at.Add(time.Second)
		hear(line, p)
	}
	p.end(true)
	want := []string{
		"poetry: Warning: it is yanked", "resolve: done (1s)", "download: 2 files, 3.0 MB (6s)", "install: 3 packages (1s)", "build: a-1.0 (1ms)",
	}
	if got := c.lines(); !slices.Equal(got, want) {
		t.Fatalf("told %q", got)
	}
}

// Whatever a program says, a listener takes it, and tells nothing twice.
func FuzzListeners(f *testing.F) {
	f.Add("Collecting x\nProgress 1 of 2\n  Downloading y (1.0 kB)\nInstalling collected packages: a")
	f.Add("Downloading 1 files\nProgress 1 of 2\nPackage operations: 1 install\nDownloaded\nBuilding x")
	f.Fuzz(func(t *testing.T, text string) {
		for name, listener := range listeners {
			c := &clocked{at: time.Unix(1_700_000_000, 0)}
			p, hear := c.phases(), listener()
			for line := range strings.Lines(text) {
				hear(strings.TrimRight(line, "\n"), p)
			}
			p.end(true)
			for _, h := range c.heard {
				if h.Step == "" || h.Done < 0 {
					t.Fatalf("%s told %+v", name, h)
				}
			}
		}
	})
}
