package envcache

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"
)

// lineKind says what a line of a requirements file is.
type lineKind int

const (
	lineName     lineKind = iota // a name, with or without a specifier
	lineURL                      // an http(s) or other URL, with or without a name
	lineVCS                      // git+https://… and the like
	linePath                     // a folder or file of the repository or the host
	lineInclude                  // -r
	lineConstr                   // -c
	lineEditable                 // -e
	lineOption                   // any other option
)

// reqLine is one logical line of a requirements file, in pip's grammar.
type reqLine struct {
	kind  lineKind
	name  string // of the package, as PEP 503 normalises it; "" if the line has none
	value string // the specifier, URL, path, or the option's value
	flag  string // of an option, in its long form
	mark  string // environment marker
	extra string // extras, sorted
	opts  []string
	raw   string // the line itself, blanks trimmed
}

// logicalLines splits a requirements text as pip does: lines that end in a
// backslash go on, comments end at the line's end.
func logicalLines(text string) []string {
	text = strings.TrimPrefix(text, "\uFEFF")
	var out []string
	var part strings.Builder
	for raw := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if trimmed := strings.TrimSpace(raw); part.Len() > 0 && strings.HasPrefix(trimmed, "#") {
			raw = ""
		}
		if joined, more := strings.CutSuffix(raw, `\`); more && !isComment(raw) {
			part.WriteString(joined)
			continue
		}
		part.WriteString(raw)
		out = append(out, part.String())
		part.Reset()
	}
	out = append(out, part.String())
	var lines []string
	for _, l := range out {
		if strings.Contains(l, "#") {
			l = comment.ReplaceAllString(l, "")
		}
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

func isComment(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "#") }

var (
	comment   = regexp.MustCompile(`(^|\s+)#.*$`)
	namePart  = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?\s*(.*)$`)
	vcsScheme = regexp.MustCompile(`^(git|hg|svn|bzr)\+`)
	anyScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)
	runs      = regexp.MustCompile(`[-_.]+`)
	blanks    = regexp.MustCompile(`\s+`)
	archive   = regexp.MustCompile(`\.(whl|zip|tar\.gz|tgz|tar\.bz2|tar\.xz)(\[[^\]]*\])?$`)
)

// longFlags are the short and old forms of pip's options for requirements files.
var longFlags = map[string]string{
	"-r": "--requirement", "-c": "--constraint", "-e": "--editable", "-i": "--index-url",
	"-f": "--find-links", "--pypi-url": "--index-url",
}

// parseLine reads one logical line.
func parseLine(line string) reqLine {
	if strings.HasPrefix(line, "-") {
		return parseOption(line)
	}
	l := parseRequirement(line)
	l.raw = line
	return l
}

func parseOption(line string) reqLine {
	flag, value, found := strings.Cut(line, "=")
	if i := strings.IndexAny(line, " \t"); i >= 0 && (!found || i < len(flag)) {
		flag, value = line[:i], line[i+1:]
	}
	if !strings.HasPrefix(line, "--") && len(flag) > 2 { // -rfile
		flag, value = line[:2], line[2:]
	}
	value = strings.Trim(strings.TrimSpace(value), `"'`)
	l := reqLine{kind: lineOption, flag: cmp.Or(longFlags[flag], flag), value: value, raw: line}
	switch l.flag {
	case "--requirement":
		l.kind = lineInclude
	case "--constraint":
		l.kind = lineConstr
	case "--editable":
		inner := parseRequirement(value)
		l.kind, l.value, l.extra, l.mark, l.name = lineEditable, inner.value, inner.extra, inner.mark, inner.name
		if inner.kind == lineName { // -e folder
			l.value = value
		}
	}
	return l
}

// plainPin reads a line as name==version without anything else: most lines of
// a frozen list are such, and they are read on every hit.
func plainPin(line string) (reqLine, bool) {
	name, version, ok := strings.Cut(line, "==")
	if !ok || name == "" || version == "" || !plain(name) || !plain(version) || !alphanumeric(name[0]) || !alphanumeric(name[len(name)-1]) {
		return reqLine{}, false
	}
	return reqLine{name: normalName(name), value: "==" + version}, true
}

func plain(s string) bool {
	for i := range len(s) {
		if !alphanumeric(s[i]) && s[i] != '.' && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func parseRequirement(line string) reqLine {
	if l, ok := plainPin(line); ok {
		return l
	}
	words, opts := splitOptions(line)
	spec, mark := splitMarker(words)
	l := reqLine{mark: normalMarker(mark), opts: opts}
	switch {
	case vcsScheme.MatchString(spec):
		l.kind, l.value = lineVCS, spec
		return l
	case strings.Contains(spec, "://") && anyScheme.MatchString(spec):
		l.kind, l.value = lineURL, spec
		return l
	case looksLikePath(spec):
		l.kind = linePath
		l.value, l.extra = splitExtras(spec)
		return l
	}
	m := namePart.FindStringSubmatch(spec)
	var versions string
	ok := m != nil
	if ok && !strings.HasPrefix(m[3], "@") {
		versions, ok = normalSpecifier(m[3])
	}
	if !ok {
		// No requirement: pip is to say so, and no key may be that of a good line.
		l.value = blanks.ReplaceAllString(spec, " ")
		return l
	}
	l.name, l.extra = normalName(m[1]), normalExtras(m[2])
	if url, ok := strings.CutPrefix(m[3], "@"); ok {
		l.value, l.kind = strings.TrimSpace(url), lineURL
		if vcsScheme.MatchString(l.value) {
			l.kind = lineVCS
		}
		return l
	}
	l.value = versions
	return l
}

// splitOptions takes the options of one requirement (--hash=…) off its end.
func splitOptions(line string) (string, []string) {
	words := strings.Fields(line)
	for i, w := range words {
		if strings.HasPrefix(w, "-") && i > 0 {
			opts := slices.Clone(words[i:])
			slices.Sort(opts)
			return strings.Join(words[:i], " "), opts
		}
	}
	return strings.Join(words, " "), nil
}

// splitMarker cuts at the ; of the marker. In a URL only " ;" ends it.
func splitMarker(s string) (string, string) {
	sep := ";"
	if strings.Contains(s, "://") || strings.Contains(s, "@ ") {
		sep = " ;"
	}
	spec, mark, _ := strings.Cut(s, sep)
	return strings.TrimSpace(spec), strings.TrimSpace(mark)
}

func looksLikePath(s string) bool {
	return strings.HasPrefix(s, ".") || strings.HasPrefix(s, "/") ||
		archive.MatchString(s) && !strings.ContainsAny(s, " @=<>!~") || strings.Contains(s, "/") && !strings.Contains(s, "@")
}

func splitExtras(s string) (string, string) {
	if i := strings.LastIndex(s, "["); i > 0 && strings.HasSuffix(s, "]") {
		return path.Clean(s[:i]), normalExtras(s[i:])
	}
	return path.Clean(s), ""
}

// canon is the line in the one spelling that the key is made of.
func (l reqLine) canon() string {
	var b strings.Builder
	if l.flag != "" {
		b.WriteString(l.flag + " ")
	}
	b.WriteString(l.name)
	if l.extra != "" {
		b.WriteString("[" + l.extra + "]")
	}
	if l.name != "" && (l.kind == lineURL || l.kind == lineVCS) {
		b.WriteString(" @ ")
	}
	b.WriteString(l.value)
	if l.mark != "" {
		b.WriteString(" ;" + l.mark)
	}
	for _, o := range l.opts {
		b.WriteString(" " + o)
	}
	return strings.TrimSpace(b.String())
}

// pathLine is a line that installs from a path, in pip's syntax.
func (l reqLine) pathLine() string {
	line := l.value
	if l.extra != "" {
		line += "[" + l.extra + "]"
	}
	if l.kind == lineEditable {
		line = "-e " + line
	}
	if l.mark != "" {
		line += " ; " + l.mark
	}
	return strings.Join(append([]string{line}, l.opts...), " ")
}

var (
	exact  = regexp.MustCompile(`^={2,3}[^*,]+$`)
	commit = regexp.MustCompile(`@[0-9a-f]{40}([#&].*)?$`)
	digest = regexp.MustCompile(`#(.*&)?sha(256|384|512)=[0-9a-f]{64,}`)
)

// pinned tells whether the line names the same files next month.
func (l reqLine) pinned() bool {
	switch l.kind {
	case lineName:
		return exact.MatchString(l.value)
	case lineVCS:
		return commit.MatchString(l.value)
	case lineURL:
		return digest.MatchString(l.value)
	case lineEditable:
		return !vcsScheme.MatchString(l.value) || commit.MatchString(l.value)
	case lineInclude, lineConstr: // what is left of them after resolving: a URL
		return false
	}
	return true
}
