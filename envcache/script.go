package envcache

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// mostScript is the largest script whose header is looked for.
const mostScript = 4 << 20

// scriptHeader is what a script says about itself in a comment block (PEP 723).
type scriptHeader struct {
	RequiresPython string   `toml:"requires-python"`
	Dependencies   []string `toml:"dependencies"`
	Tool           struct {
		UV map[string]any `toml:"uv"`
	} `toml:"tool"`
}

// headerBlock is the expression of the specification.
// https://packaging.python.org/en/latest/specifications/inline-script-metadata/
var headerBlock = regexp.MustCompile(`(?m)^# /// ([a-zA-Z0-9-]+)$\s((?:^#(?:| .*)$\s)+)^# ///$`)

// hasHeader tells whether a script has a header, a wrong one included.
func hasHeader(data []byte) bool {
	return bytes.HasPrefix(data, []byte("# /// script")) || bytes.Contains(data, []byte("\n# /// script"))
}

// parseHeader reads the header of a script.
func parseHeader(data []byte) (scriptHeader, error) {
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	var blocks []string
	for _, m := range headerBlock.FindAllStringSubmatch(text, -1) {
		if m[1] == "script" {
			blocks = append(blocks, m[2])
		}
	}
	if len(blocks) != 1 {
		return scriptHeader{}, fmt.Errorf("%d blocks are a script header, not one", len(blocks))
	}
	var content strings.Builder
	for line := range strings.Lines(blocks[0]) {
		content.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "))
	}
	var h scriptHeader
	if err := toml.Unmarshal([]byte(content.String()), &h); err != nil {
		return scriptHeader{}, fmt.Errorf("the script header: %w", err)
	}
	return h, nil
}

// lines are the header's wishes as a list in pip's syntax.
func (h scriptHeader) lines() ([]string, error) {
	for _, d := range h.Dependencies {
		if strings.ContainsAny(d, "\n\r") || strings.HasPrefix(strings.TrimSpace(d), "-") {
			return nil, fmt.Errorf("%q is no dependency", shorten(d))
		}
	}
	lines := slices.Clone(h.Dependencies)
	if err := only(h.Tool.UV, "sources", "index"); err != nil {
		return nil, fmt.Errorf("[tool.uv] of a script header: %w", err)
	}
	indexes, err := headerIndexes(h.Tool.UV["index"])
	if err != nil {
		return nil, err
	}
	sources, ok := h.Tool.UV["sources"].(map[string]any)
	if !ok && h.Tool.UV["sources"] != nil {
		return nil, errors.New("[tool.uv.sources] is no table")
	}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		if lines, err = redirect(lines, normalName(name), sources[name]); err != nil {
			return nil, fmt.Errorf("[tool.uv.sources] %s: %w", shorten(name), err)
		}
	}
	return append(indexes, lines...), nil
}

// headerIndexes turns [[tool.uv.index]] into options of a list.
func headerIndexes(v any) ([]string, error) {
	all, ok := v.([]any)
	if !ok && v != nil {
		return nil, errors.New("[tool.uv] index is no list")
	}
	var lines []string
	for _, it := range all {
		x, _ := it.(map[string]any)
		link, _ := x["url"].(string)
		if link == "" || strings.ContainsAny(link, " \n\r") {
			return nil, errors.New("[[tool.uv.index]] without a URL")
		}
		if x["default"] == true { // before all others: in a list it resets them
			lines = slices.Insert(lines, 0, "--index-url "+link)
			continue
		}
		lines = append(lines, "--extra-index-url "+link)
	}
	return lines, nil
}

// redirect makes the lines of a package name what the package's source says.
func redirect(lines []string, name string, source any) ([]string, error) {
	s, ok := source.(map[string]any)
	text := func(key string) string { v, _ := s[key].(string); return v }
	target := ""
	allowed := []string{"git", "rev", "tag", "branch", "subdirectory"}
	switch {
	case !ok:
		return nil, errors.New("only one source per package is supported")
	case text("index") != "": // all indexes are searched for every package
		return lines, only(s, "index")
	case text("git") != "":
		target = "git+" + text("git")
		if rev := cmp.Or(text("rev"), text("tag"), text("branch")); rev != "" {
			target += "@" + rev
		}
	case text("url") != "":
		target, allowed = text("url"), []string{"url", "subdirectory"}
	}
	if target == "" {
		return nil, errors.New("only git, url and index are supported")
	}
	if sub := text("subdirectory"); sub != "" {
		target += "#subdirectory=" + sub
	}
	if strings.ContainsAny(target, " \n\r") {
		return nil, errors.New("the source holds blanks")
	}
	out := slices.Clone(lines)
	for i, line := range out {
		if l := parseLine(line); l.kind == lineName && l.name == name {
			out[i] = reqLine{kind: lineVCS, name: l.name, extra: l.extra, value: target, mark: l.mark}.canon()
		}
	}
	return out, only(s, allowed...)
}

// only refuses what would change the packages and is not understood.
func only(table map[string]any, keys ...string) error {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("%s is not supported", shorten(key))
		}
	}
	return nil
}
