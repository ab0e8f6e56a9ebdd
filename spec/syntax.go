package spec

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

const notYAML = "cannot be read as YAML: "

func tooLarge(data []byte) *Problem {
	if len(data) <= MaxSize {
		return nil
	}
	return &Problem{
		Line: 1, Column: 1, Severity: SeverityError,
		Fault: fmt.Sprintf("is larger than %s (%d bytes)", Size(MaxSize), len(data)), Fix: "write a file for each node",
	}
}

// unreadable is the fault of bytes that no document can be made of.
func unreadable(data []byte) *Problem {
	p := &Problem{Line: 1, Column: 1, Severity: SeverityError}
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		p.Fault, p.Fix = "is text in UTF-16", "save it in UTF-8"
		return p
	}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if bad := r == utf8.RuneError && n == 1 || r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f; bad {
			at := lastPosition(data[:i])
			p.Line, p.Column = at.line, at.column
			p.Fault, p.Fix = fmt.Sprintf("has the byte 0x%02x, which is no text", data[i]), "save it as text in UTF-8"
			return p
		}
		i += n
	}
	return nil
}

// lineEnd is what YAML takes for the end of a line.
var lineEnd = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]")

// lastPosition is the place right behind text.
func lastPosition(text []byte) position {
	ends := lineEnd.FindAllIndex(text, -1)
	if len(ends) > 0 {
		text = text[ends[len(ends)-1][1]:]
	}
	return position{line: len(ends) + 1, column: utf8.RuneCount(text) + 1}
}

var (
	yamlLine  = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)
	yamlAlias = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxProblem turns an error of the parser into a problem. The parser's line is
// often wrong, and it tells no column: both are searched for in the text.
func syntaxProblem(data []byte, err error) Problem {
	m := yamlLine.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0])
	said, _ := strconv.Atoi(m[1])
	message := m[2]
	p := Problem{Severity: SeverityError, Fault: notYAML + printed(message), Fix: "check the indentation and the quotes here and in the line before"}
	lines := splitLines(data)
	if a := yamlAlias.FindStringSubmatch(message); a != nil {
		return aliasProblem(p, lines, a[1])
	}
	n := brokenLine(lines, said)
	p.Line, p.Column = n, indent(lines[n-1])+1
	line := strings.TrimRight(lines[n-1], "\r\n")
	explain(&p, line, message)
	p.Column = min(p.Column, utf8.RuneCountInString(line)+1)
	return p
}

// printed is a message of the parser, in which text of the document may stand.
func printed(s string) string {
	if quoted := strconv.Quote(s); len(s) > 200 || quoted != `"`+strings.ReplaceAll(s, `"`, `\"`)+`"` {
		return quote(s)
	}
	return s
}

var conflictMarker = regexp.MustCompile(`^(<<<<<<<|=======|>>>>>>>)`)

// explain says what people mostly did wrong when the parser says message.
func explain(p *Problem, line, message string) {
	text := strings.TrimLeft(line, " ")
	column := func(char string) {
		if at := strings.Index(line, char); at >= 0 {
			p.Column = utf8.RuneCountInString(line[:at]) + 1
		}
	}
	switch {
	case conflictMarker.MatchString(line):
		p.Fault, p.Fix = "there is a conflict marker of git", "resolve the conflict"
	case strings.HasPrefix(text, "\t"), strings.Contains(message, "tab character"):
		p.Fault, p.Fix = "there is a tab in the indentation", "indent with spaces"
	case strings.Contains(message, "mapping values are not allowed"):
		p.Fix = "put a value with `: ` in quotes, and the next key on a line of its own, indented like its neighbours"
		if first := strings.Index(line, ": "); first >= 0 {
			if second := strings.Index(line[first+2:], ": "); second >= 0 {
				p.Column = utf8.RuneCountInString(line[:first+2+second]) + 1
			}
		}
	case strings.Contains(message, "cannot start any token"):
		if at := strings.IndexAny(line, "@`%"); at >= 0 {
			column(line[at : at+1])
			p.Fix = "put the value in quotes"
		}
	case strings.Contains(message, "alphabetic or numeric character"):
		column("*")
		p.Fix = "put a text with * or & in quotes"
	case strings.Contains(message, "escape"):
		column(`\`)
		p.Fix = `write \\ for a backslash, or use single quotes`
	case strings.Contains(message, "YAML document"), strings.Contains(message, "directive"):
		p.Fix = "delete the line with %"
	case strings.Count(line, "}") > strings.Count(line, "{"), strings.Count(line, "]") > strings.Count(line, "["):
		p.Fix = "take out the bracket that nothing opens, or open it"
	case strings.Contains(message, "node content"):
		p.Fix = "close each [ with ] and each { with }"
	case strings.Contains(message, "unexpected end of stream"):
		p.Fix = "close the quote that is opened here"
	case strings.Contains(message, "',' or ']'"):
		p.Fix = "close the list that is opened here with ], and put , between its values"
	case strings.Contains(message, "',' or '}'"):
		p.Fix = "close the mapping that is opened here with }, and put , between its values"
	case strings.Contains(message, "expected key"), strings.Contains(message, "'-' indicator"), strings.Contains(message, "document start"):
		p.Fix = "indent it like its neighbours above"
	case strings.Contains(message, "could not find expected ':'"):
		p.Fix = "write `key: value`, or indent it if it goes on with the line before"
	}
}

func aliasProblem(p Problem, lines []string, name string) Problem {
	p.Line, p.Column = 1, 1
	p.Fault = "the alias *" + printed(name) + " has no anchor before it"
	p.Fix = fmt.Sprintf("write &%s where it is defined, or quote it if a text with * is meant", printed(name))
	for i, line := range lines {
		if at := strings.Index(line, "*"+name); at >= 0 {
			p.Line, p.Column = i+1, utf8.RuneCountInString(line[:at])+1
			break
		}
	}
	return p
}

// splitLines cuts the text into lines, each with its end.
func splitLines(data []byte) []string {
	var lines []string
	from := 0
	for _, end := range lineEnd.FindAllIndex(data, -1) {
		lines = append(lines, string(data[from:end[1]]))
		from = end[1]
	}
	return append(lines, string(data[from:]))
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// maxTries bounds the search for a broken line: each try parses the text again.
const maxTries = 60

// brokenLine finds the line where the text stops being YAML: the one behind the
// longest beginning that can be parsed, searched for near the line that the parser
// said. Whatever is opened there and never closed begins there too.
func brokenLine(lines []string, said int) int {
	budget := 2 * MaxSize // bytes to parse in all
	good := func(n int) bool {
		text := strings.Join(lines[:n], "")
		budget -= len(text)
		return parses(text)
	}
	n := min(max(said, 1), len(lines))
	for tries := 0; n < len(lines) && tries < maxTries && budget > 0 && good(n); tries++ {
		n++
	}
	for tries := 0; n > 1 && tries < maxTries && budget > 0; tries++ {
		if good(n - 1) {
			return skipBlank(lines, n)
		}
		n--
	}
	if n == 1 {
		return skipBlank(lines, 1)
	}
	return min(max(said, 1), len(lines))
}

// skipBlank goes on from line n over lines that can't be at fault.
func skipBlank(lines []string, n int) int {
	for n < len(lines) {
		if text := strings.TrimSpace(lines[n-1]); text != "" && !strings.HasPrefix(text, "#") {
			break
		}
		n++
	}
	return n
}

func parses(text string) bool {
	reader := yaml.NewDecoder(strings.NewReader(text))
	for {
		var n yaml.Node
		if err := reader.Decode(&n); err != nil {
			return err.Error() == "EOF"
		}
	}
}
