package conformance

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// row is one thing that a server must do.
type row struct {
	name    string
	place   string // FILE:LINE
	differs string // where docs/server.md lists the difference, "" for none
	steps   []step
}

// step is a request and its reply.
type step struct {
	place  string
	action string
	body   string
	lines  bool // the body is lines of JSON
	repeat bool
	want   *reply
	real   *reply // a ClearML Server's, where it is another
}

// reply is what is expected: data for a success, text for a refusal.
type reply struct {
	code, sub int
	data      any
	text      string
}

// readRows reads all row files.
func readRows() ([]*row, error) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.rows"))
	if err != nil {
		return nil, err
	}
	var all []*row
	for _, f := range files {
		text, err := os.ReadFile(filepath.Clean(f))
		if err != nil {
			return nil, err
		}
		rows, err := parseRows(strings.TrimSuffix(filepath.Base(f), ".rows"), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

func parseRows(file, text string) (rows []*row, err error) {
	p := parser{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		p.place = fmt.Sprintf("%s:%d", file, n)
		if err := p.line(strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", p.place, err, line)
		}
	}
	for _, r := range p.rows {
		for _, s := range r.steps {
			if s.want == nil {
				return nil, fmt.Errorf("%s: a request without a reply", s.place)
			}
		}
	}
	return p.rows, nil
}

type parser struct {
	rows  []*row
	place string
}

func (p *parser) line(line string) error {
	mark, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if mark == "==" {
		p.rows = append(p.rows, &row{name: rest, place: p.place})
		return nil
	}
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	if len(p.rows) == 0 {
		return errors.New("a line before the first row")
	}
	r := p.rows[len(p.rows)-1]
	switch mark {
	case "!!":
		r.differs = rest
		return nil
	case ">", ">?":
		action, body, _ := strings.Cut(rest, " ")
		r.steps = append(r.steps, step{place: p.place, action: action, body: body, repeat: mark == ">?"})
		return nil
	}
	if len(r.steps) == 0 {
		return errors.New("a line before the row's first request")
	}
	return r.steps[len(r.steps)-1].line(mark, rest)
}

func (s *step) line(mark, rest string) (err error) {
	switch mark {
	case "|":
		s.body += rest + "\n"
		s.lines = true
	case "<":
		s.want, err = parseReply(rest)
	case "<real":
		s.real, err = parseReply(rest)
	default:
		err = errors.New("a line of no kind")
	}
	return err
}

func parseReply(text string) (*reply, error) {
	r := &reply{code: 200}
	head, rest, _ := strings.Cut(text, " ")
	if code, sub, _ := strings.Cut(head, "/"); len(code) == 3 && code[0] >= '1' && code[0] <= '9' {
		var err error
		if r.code, err = strconv.Atoi(code); err != nil {
			return nil, err
		}
		if r.sub, err = strconv.Atoi(cmp.Or(sub, "0")); err != nil {
			return nil, err
		}
		text = rest
	}
	if strings.TrimSpace(text) == "" {
		return r, nil
	}
	var dest any = &r.data
	if r.code != 200 {
		dest = &r.text
	}
	return r, json.Unmarshal([]byte(text), dest)
}
