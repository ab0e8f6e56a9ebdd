package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func cleaned(t *testing.T, pieces ...string) string {
	t.Helper()
	var out bytes.Buffer
	c := cleaner{to: &out}
	for _, p := range pieces {
		if n, err := c.Write([]byte(p)); err != nil || n != len(p) {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	return out.String()
}

func TestCleaner(t *testing.T) {
	for _, row := range []struct{ about, in, want string }{
		{"text", "ü 漢 a\tb\r\nc\b", "ü 漢 a\tb\r\nc\b"},
		{"colours", "\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"},
		{"the rest of the line", "50%\x1b[K\r", "50%\x1b[K\r"},
		{"clearing the screen", "a\x1b[2Jb", "ab"},
		{"moving about", "a\x1b[10;10Hb", "ab"},
		{"private modes", "a\x1b[?1049hb\x1b[?25mc", "abc"},
		{"the title", "a\x1b]0;owned\x07b", "ab"},
		{"the clipboard", "a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"},
		{"a report of the status", "a\x1b[6nb", "ab"},
		{"a string that is never closed", "a\x1bPq\nb", "ab"},
		{"a sequence in a string", "a\x1b]0;x\x1b[31mb", "a\x1b[31mb"},
		{"control characters of two bytes", "a\u009b2Jb°", "a2Jb°"},
		{"a bell and others", "a\x07\x00\x7fb", "ab"},
		{"a line break in a sequence", "a\x1b[3\nb", "a\nb"},
		{"endless numbers", "a\x1b[" + string(bytes.Repeat([]byte("1"), 200)) + "mb", "ab"},
		{"ESC alone", "a\x1bcb", "ab"},
	} {
		if got := cleaned(t, row.in); got != row.want {
			t.Errorf("%s: got %q, want %q", row.about, got, row.want)
		}
	}
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*[mK]")

// Whatever a task writes, in whatever pieces, only colours and plain text come out.
func FuzzCleaner(f *testing.F) {
	f.Add("a\x1b[1mb\x1b]0;x\x07", 3)
	f.Add("\x1b\x1b[\x1b]\x1b\\", 1)
	f.Add("\x1b[?5m\x1b[1", 5)
	f.Fuzz(func(t *testing.T, s string, at int) {
		if at < 0 || at > len(s) {
			at = 0
		}
		whole := cleaned(t, s)
		if pieces := cleaned(t, s[:at], s[at:]); pieces != whole {
			t.Errorf("in pieces %q, whole %q", pieces, whole)
		}
		if strings.ContainsFunc(whole, func(r rune) bool { return r >= 0x80 && r < 0xa0 }) {
			t.Fatalf("%q came out of %q", whole, s)
		}
		for _, b := range colours.ReplaceAll([]byte(whole), nil) {
			if b < 0x20 && b != '\n' && b != '\r' && b != '\t' && b != '\b' || b == 0x7f {
				t.Fatalf("%q came out of %q", whole, s)
			}
		}
	})
}
