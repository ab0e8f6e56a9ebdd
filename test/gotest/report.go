package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// skip is a test that was skipped, with what it printed.
type skip struct{ pkg, test, why string }

// report gathers the events of go test: silent about what passes, whole about
// what fails.
type report struct {
	out            io.Writer
	text           map[[2]string][]string // output by package and test, until its end
	skips          []skip
	passed, failed int
}

func newReport(out io.Writer) *report {
	return &report{out: out, text: map[[2]string][]string{}}
}

// read takes the events of one go test.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the events of go test: %w", err)
		}
	}
}

func (r *report) line(line []byte) {
	var e event
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil {
		fmt.Fprint(r.out, string(line)) // go itself talks, for example about a broken go.mod
		return
	}
	r.event(e)
}

func (r *report) event(e event) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "build-fail":
		r.failed++
	case "output":
		r.text[key] = append(r.text[key], e.Output)
	case "pass", "fail", "skip":
		r.end(e, r.text[key])
		delete(r.text, key)
	}
}

// end is the end of a test, or of a package if it names no test.
func (r *report) end(e event, text []string) {
	if e.Test == "" {
		r.endPackage(e, text)
		return
	}
	switch e.Action {
	case "fail":
		r.failed++
		r.print(text)
	case "skip":
		r.skips = append(r.skips, skip{e.Package, e.Test, reason(text)})
	case "pass":
		r.passed++
	}
}

func (r *report) endPackage(e event, text []string) {
	if e.Action == "fail" {
		r.failed++ // a package can fail with no failed test: TestMain, a leak check, a time-out
		r.print(text)
		return
	}
	r.print(slices.DeleteFunc(text, func(line string) bool {
		return !strings.HasPrefix(line, "ok ") && !strings.HasPrefix(line, "? ")
	}))
}

func (r *report) print(lines []string) {
	for _, line := range lines {
		fmt.Fprint(r.out, line)
	}
}

// reason picks what a skipped test said from its output.
func reason(text []string) string {
	var said []string
	for _, line := range text {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}

// close prints the skips and the closing line; false: the run failed.
func (r *report) close(allowed map[string]string) bool {
	refused := 0
	for _, s := range r.skips {
		whole, _, _ := strings.Cut(s.test, "/")
		if why, ok := first(allowed, s.pkg+" "+s.test, s.pkg+" "+whole); ok {
			fmt.Fprintf(r.out, "skipped: %s %s: %s (allowed: %s)\n", s.pkg, s.test, s.why, why)
			continue
		}
		refused++
		fmt.Fprintf(r.out, "SKIPPED: %s %s: %s (not in test/skips.txt: a skip needs a reason there)\n", s.pkg, s.test, s.why)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed+refused, len(r.skips)-refused)
	return r.failed+refused == 0
}

// first looks the names up, in order.
func first(m map[string]string, names ...string) (string, bool) {
	for _, name := range names {
		if value, ok := m[name]; ok {
			return value, true
		}
	}
	return "", false
}
