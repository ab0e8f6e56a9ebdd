package spec

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// File is one of several files that are one spec together.
type File struct {
	Name string // as problems and Origins call it
	Text []byte
}

// marker begins a file in a text of several. It is the start of a document with a
// comment, so that any other reader of YAML sees one stream; the quoted name is ASCII
// on one line, whatever the file is called.
var marker = regexp.MustCompile(`(?m)^--- # file ("(?:[^"\\\x00-\x1f]|\\.)*")\r?(?:\n|\z)`)

// Join makes one text of several files, in which problems name the right file, line
// and column. Whoever decodes it need not know that it was joined.
func Join(files []File) []byte {
	var b bytes.Buffer
	for _, f := range files {
		b.WriteString("--- # file " + strconv.QuoteToASCII(f.Name) + "\n")
		b.Write(f.Text)
		if len(f.Text) > 0 && f.Text[len(f.Text)-1] != '\n' {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// shownName is the name of a file as messages have it, on one line.
func shownName(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.QuoteToASCII(name)
	}
	return name
}

// parted undoes Join. What stands before the first marker, which is all where there
// is none, is of the file that the caller names.
func parted(file string, data []byte) []File {
	marks := marker.FindAllSubmatchIndex(data, -1)
	if len(marks) == 0 {
		return []File{{file, data}}
	}
	var files []File
	if before := data[:marks[0][0]]; len(bytes.TrimSpace(before)) > 0 {
		files = append(files, File{file, before})
	}
	for i, m := range marks {
		end := len(data)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		name, err := strconv.Unquote(string(data[m[2]:m[3]]))
		if err != nil { // written by hand
			name = file
		}
		files = append(files, File{name, data[m[1]:end]})
	}
	return files
}
