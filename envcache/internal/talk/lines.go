package talk

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	longestLine = 8 << 10
	keptLines   = 60
)

// Lines is a writer that hands on what it gets line by line. It may be used as
// the standard output and standard error of one program at once.
type Lines struct {
	clean func(string) string
	each  func(string)

	mu   sync.Mutex
	part []byte
	tail []string
	last time.Time
}

// NewLines makes a writer that calls each with every line, after clean took the
// secrets out. Both may be nil.
func NewLines(clean func(string) string, each func(string)) *Lines {
	return &Lines{clean: clean, each: each, last: time.Now()}
}

// Write takes bytes of the program. It never fails: a program must not die
// because nobody listens.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
	l.part = append(l.part, p...)
	for {
		i := bytes.IndexAny(l.part, "\r\n")
		if i < 0 && len(l.part) < longestLine {
			return len(p), nil
		}
		if i < 0 {
			i = len(l.part) - 1
		}
		l.emit(l.part[:i+1])
		l.part = l.part[i+1:]
	}
}

// Close hands on what came after the last end of line.
func (l *Lines) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.emit(l.part)
	l.part = nil
	return nil
}

// Tail gives the last lines, at most n.
func (l *Lines) Tail(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.tail[max(0, len(l.tail)-n):]...)
}

// Last is when the program last wrote.
func (l *Lines) Last() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *Lines) emit(raw []byte) {
	line := Clean(string(raw))
	if l.clean != nil {
		line = l.clean(line)
	}
	if strings.TrimSpace(line) == "" {
		return
	}
	l.tail = append(l.tail, line)
	if len(l.tail) > 2*keptLines {
		l.tail = append([]string(nil), l.tail[keptLines:]...)
	}
	if l.each != nil {
		l.each(line)
	}
}

var escapes = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?|[@-Z\\\\-_])")

// Clean takes terminal escapes and control characters out of a line: a remote
// end must not be able to write on a person's terminal (CVE-2024-52005).
func Clean(line string) string {
	line = escapes.ReplaceAllString(line, "")
	line = strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, line)
	return strings.TrimRight(strings.ToValidUTF8(line, "\uFFFD"), " \t")
}
