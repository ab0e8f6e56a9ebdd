package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"agentctl/clearml"
)

// mostNotebook is the largest notebook that is read: it may hold pictures.
const mostNotebook = 64 << 20

// notebook is what of a Jupyter notebook is code, in formats 3 and 4.
type notebook struct {
	Cells      []cell `json:"cells"`
	Worksheets []struct {
		Cells []cell `json:"cells"`
	} `json:"worksheets"`
	Metadata struct {
		Kernel struct {
			Language string `json:"language"`
		} `json:"kernelspec"`
		Language struct {
			Name string `json:"name"`
		} `json:"language_info"`
	} `json:"metadata"`
}

type cell struct {
	Type   string        `json:"cell_type"`
	Source clearml.Lines `json:"source"`
	Input  clearml.Lines `json:"input"` // format 3
}

// program is the notebook as a program of Python, and how many lines are for IPython
// alone: those become comments, as the SDK makes them when it stores a notebook.
func program(data []byte) (text string, left int, err error) {
	var n notebook
	if err := json.Unmarshal(data, &n); err != nil {
		return "", 0, errors.New("it is no notebook")
	}
	for _, language := range []string{n.Metadata.Language.Name, n.Metadata.Kernel.Language} {
		if language != "" && !strings.Contains(strings.ToLower(language), "python") {
			return "", 0, fmt.Errorf("it is a notebook of %.40q, not of Python", language)
		}
	}
	for _, sheet := range n.Worksheets {
		n.Cells = append(n.Cells, sheet.Cells...)
	}
	var b strings.Builder
	b.WriteString("# coding: utf-8\n")
	for _, c := range n.Cells {
		if c.Type != "code" {
			continue
		}
		source := strings.Join(append(c.Source, c.Input...), "\n")
		code, n := plain(source)
		left += n
		fmt.Fprintf(&b, "\n# In[ ]:\n\n%s\n", strings.TrimRight(code, "\n"))
	}
	if strings.Contains(b.String(), "display(") {
		return strings.Replace(b.String(), "\n", "\n"+display, 1), left, nil
	}
	return b.String(), left, nil
}

// display is what IPython gives to each notebook without an import.
const display = `try:
    from IPython.display import display
except ImportError:
    display = print
`

var (
	// timed are magics whose statement is run all the same.
	timed     = regexp.MustCompile(`^(\s*)%(?:time|timeit|prun|memit)\s+([^-\s].*)$`)
	timedCell = regexp.MustCompile(`^%%(?:time|timeit|capture|prun|memit)\b`)
	// shell is a magic or a command whose result is a variable.
	shell = regexp.MustCompile(`^\s*[A-Za-z_][\w.,\s]*=\s*[!%][A-Za-z./~]`)
	help  = regexp.MustCompile(`^\s*(\?{1,2}[\w.*]+|[\w.*]+\?{1,2})\s*$`)
)

// plain is a cell without what only IPython understands. A comment takes the place of
// each such line, with a pass, so that a block of nothing else stays one.
func plain(source string) (code string, left int) {
	source = strings.ReplaceAll(source, "\r\n", "\n")
	if first, rest, _ := strings.Cut(strings.TrimLeft(source, "\n"), "\n"); strings.HasPrefix(first, "%%") {
		if !timedCell.MatchString(first) {
			return "# " + strings.ReplaceAll(strings.TrimRight(source, "\n"), "\n", "\n# "), 1
		}
		code, left = plain(rest)
		return "# " + first + "\n" + code, left + 1
	}
	var b strings.Builder
	var scan pyScanner
	goesOn := false // what IPython alone understands
	for text := range strings.Lines(source) {
		text = strings.TrimRight(text, "\n")
		word := strings.TrimSpace(text)
		switch begins := scan.begins(); {
		case goesOn:
			text = "# " + text
		case !begins || word == "":
		case timed.MatchString(text):
			text = timed.ReplaceAllString(text, "$1$2")
			left++
		case word[0] == '%', word[0] == '!', shell.MatchString(text), help.MatchString(text), strings.HasPrefix(word, "get_ipython()"):
			goesOn = true
			text = text[:len(text)-len(strings.TrimLeft(text, " \t"))] + "pass  # " + word
			left++
		}
		if goesOn { // its quotes and brackets are none of Python's
			goesOn = oddBackslashes(text)
		} else {
			scan.line(text)
		}
		b.WriteString(text + "\n")
	}
	return b.String(), left
}

// isNotebook tells whether the text of a script is a notebook, not a program.
func isNotebook(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) && json.Valid(text)
}
