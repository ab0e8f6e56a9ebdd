package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
)

// anchors lists the anchors of a document's headings, as code hosts make them.
func anchors(text string) []string {
	var found []string
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		found = append(found, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, match[1]))
	}
	return found
}

// broken tells why a link of the document leads nowhere; "" if it does lead somewhere.
func broken(document, text, target string) string {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return "" // other places change without us
	}
	path, anchor, _ := strings.Cut(target, "#")
	if path != "" {
		full := filepath.Join(filepath.Dir(document), path)
		info, err := os.Stat(full)
		if err != nil {
			return "no such file"
		}
		if anchor == "" || info.IsDir() {
			return ""
		}
		data, err := os.ReadFile(full)
		if err != nil {
			return err.Error()
		}
		text = string(data)
	}
	if anchor != "" && !slices.Contains(anchors(text), anchor) {
		return "no such heading"
	}
	return ""
}

func TestLinksLeadSomewhere(t *testing.T) {
	for _, name := range files(t) {
		if filepath.Ext(name) != ".md" {
			continue
		}
		document := filepath.Join(root(t), name)
		data, err := os.ReadFile(document)
		if err != nil {
			continue // deleted but not committed yet
		}
		for _, match := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(data), ""), -1) {
			if why := broken(document, string(data), match[1]); why != "" {
				t.Errorf("%s: link %s: %s", name, match[1], why)
			}
		}
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	document := filepath.Join(t.TempDir(), "a.md")
	text := "# One thing, first\n"
	if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"#one-thing-first":     "",
		"a.md#one-thing-first": "",
		"https://example.com":  "",
		"b.md":                 "no such file",
		"a.md#two":             "no such heading",
	} {
		if got := broken(document, text, target); got != want {
			t.Errorf("broken(%q) = %q, want %q", target, got, want)
		}
	}
}
