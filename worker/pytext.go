package worker

import "strings"

// pyLine is a line of a program in Python, with its end.
type pyLine struct {
	text string
	// begins tells that a statement begins here: the line is not inside of a text or of
	// brackets, and the one before it is not continued.
	begins bool
}

// pyLines splits a program into lines. It knows texts, comments, brackets and
// backslashes, which is what tells a magic of a notebook, or an import, from a text
// that looks like one.
func pyLines(program string) []pyLine {
	var lines []pyLine
	var s pyScanner
	for text := range strings.Lines(program) {
		lines = append(lines, pyLine{text: text, begins: s.begins()})
		s.line(text)
	}
	return lines
}

// pyScanner is where in a program it is.
type pyScanner struct {
	quote     string // that ends the text it is in
	depth     int    // of brackets
	continued bool   // by a backslash
}

// begins tells whether a statement begins on the next line.
func (s *pyScanner) begins() bool { return s.quote == "" && s.depth == 0 && !s.continued }

func (s *pyScanner) line(text string) {
	text = strings.TrimRight(text, "\r\n")
	s.continued = false
	for i := 0; i < len(text); {
		rest := text[i:]
		switch {
		case s.quote != "":
			i += s.inText(rest)
		case rest[0] == '#':
			return
		case rest == `\`:
			s.continued = true
			return
		case rest[0] == '"' || rest[0] == '\'':
			s.quote = rest[:1]
			if three := strings.Repeat(s.quote, 3); strings.HasPrefix(rest, three) {
				s.quote = three
			}
			i += len(s.quote)
		default:
			switch rest[0] {
			case '(', '[', '{':
				s.depth++
			case ')', ']', '}':
				s.depth = max(s.depth-1, 0)
			}
			i++
		}
	}
	// A text in single quotes ends with its line, unless a backslash says otherwise.
	if len(s.quote) == 1 && !oddBackslashes(text) {
		s.quote = ""
	}
}

// inText is how many bytes to go on in a text.
func (s *pyScanner) inText(rest string) int {
	switch {
	case rest[0] == '\\':
		return min(2, len(rest))
	case strings.HasPrefix(rest, s.quote):
		n := len(s.quote)
		s.quote = ""
		return n
	}
	return 1
}

func oddBackslashes(text string) bool {
	return (len(text)-len(strings.TrimRight(text, `\`)))%2 == 1
}

// nextStatement is the line on which the statement after that of line i begins.
func nextStatement(lines []pyLine, i int) int {
	for i++; i < len(lines) && !lines[i].begins; i++ {
	}
	return i
}

// afterFuture moves the two lines with which the SDK makes a script a task behind the
// script's own imports from __future__, which have to be its first statements.
func afterFuture(program string) (string, bool) {
	first, rest, _ := strings.Cut(program, "\n")
	second, _, _ := strings.Cut(rest, "\n")
	if !strings.HasPrefix(strings.TrimSpace(first), "from clearml ") || !strings.Contains(second, "Task.init") {
		return program, false
	}
	lines := pyLines(program)
	var end, next int // end is that of the last such import
	for i := 2; i < len(lines); i = next {
		next = nextStatement(lines, i)
		text := strings.TrimSpace(lines[i].text)
		if strings.HasPrefix(text, "from __future__ ") {
			end = next
		} else if text != "" && text[0] != '#' && (end > 0 || !isText(text)) {
			break
		}
	}
	if end == 0 {
		return program, false
	}
	var b strings.Builder
	for _, part := range [][]pyLine{lines[2:end], lines[:2], lines[end:]} {
		for _, line := range part {
			b.WriteString(strings.TrimSuffix(line.text, "\n") + "\n")
		}
	}
	return b.String(), true
}

// isText tells of a statement that is a text alone, as at the head of a program.
func isText(statement string) bool {
	bare := strings.TrimLeft(statement, "rRuUbB")
	return strings.HasPrefix(bare, `"`) || strings.HasPrefix(bare, "'")
}
