package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
)

var (
	diffLine  = regexp.MustCompile(`(?m)^diff (--git|--cc|--combined|-[A-Za-z]+ )`)
	hunkLine  = regexp.MustCompile(`^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@`)
	bareFiles = regexp.MustCompile(`(?m)^--- \S[^\n]*\n\+\+\+ \S[^\n]*\n@@ -`)
)

// IsPatch tells whether the diff of a task is a patch. Else it is a literal
// script, as of a notebook or of a program without a repository.
//
// A patch is what git diff writes, also with --submodule=diff, where lines
// about submodules stand in front. The word "diff" alone does not make one:
// scripts may start with it.
func IsPatch(diff string) bool {
	text := strings.TrimLeft(strings.TrimPrefix(diff, "\uFEFF"), " \t\r\n")
	first, rest, _ := strings.Cut(text, "\n")
	switch {
	case diffLine.MatchString(first):
		return true
	case strings.HasPrefix(strings.ToLower(first), "submodule "):
		return diffLine.MatchString(rest) || strings.Contains(first, "..") || strings.Contains(first, "contains ")
	case strings.HasPrefix(first, "--- "), strings.HasPrefix(first, "Index: "):
		return bareFiles.MatchString(text)
	}
	return false
}

// PatchError tells where a patch does not apply.
type PatchError struct {
	File string // as the patch names it; "" if git did not say
	Hunk string // as "hunk 2 of 3 (@@ -10,6 +10,7 @@)", or ""
	Git  string // git's own words
}

// Error names file and hunk.
func (e *PatchError) Error() string {
	s := "the uncommitted changes can't be applied"
	if e.File != "" {
		s += ": " + e.File
	}
	if e.Hunk != "" {
		s += ", " + e.Hunk
	}
	return s + "; git says: " + e.Git
}

// apply applies the uncommitted changes as `git apply` does, and as
// clearml-agent calls it: a final line end is added, and context may be missing.
func (mk *maker) apply(ctx context.Context, diff string) error {
	if !strings.HasSuffix(diff, "\n") {
		diff += "\n"
	}
	if strings.Contains(diff, "\nGIT binary patch\n") {
		diff += "\n" // ends the data; many programs cut it off
	}
	if strings.ContainsRune(diff, 0) {
		return &PatchError{Git: "the patch holds a NUL byte"}
	}
	if !diffLine.MatchString(diff) && !bareFiles.MatchString(diff) {
		mk.warnings = append(mk.warnings, "the uncommitted changes only say that submodules differ: the committed submodules are used")
		return nil
	}
	if err := mk.prepareNew(diff); err != nil {
		return err
	}
	_, err := mk.git(ctx, mk.top, "apply", call{stdin: strings.NewReader(diff)}, "apply", "--unidiff-zero", "--whitespace=nowarn", "-")
	var failed *GitError
	if errors.As(err, &failed) && failed.Err == nil {
		return explainPatch(diff, failed.Lines)
	}
	return err
}

// patchFile is what a patch says of one file.
type patchFile struct {
	old, new string // without a/ and b/; "" for /dev/null
	created  bool   // there is a line "new file mode"
	hunks    []string
}

// parsePatch reads the heads of a patch: files and hunks. Lines of a hunk are
// counted, so that a removed line that reads "-- a/x" is not taken for a head.
func parsePatch(diff string) []*patchFile {
	var files []*patchFile
	var f *patchFile
	fresh := func() {
		f = &patchFile{}
		files = append(files, f)
	}
	var oldLeft, newLeft int
	for line := range strings.Lines(diff) {
		line = strings.TrimRight(line, "\r\n")
		if oldLeft > 0 || newLeft > 0 {
			switch {
			case strings.HasPrefix(line, "-"):
				oldLeft--
			case strings.HasPrefix(line, "+"):
				newLeft--
			case strings.HasPrefix(line, `\`):
			default:
				oldLeft--
				newLeft--
			}
			continue
		}
		switch m := hunkLine.FindStringSubmatch(line); {
		case strings.HasPrefix(line, "diff "):
			fresh()
		case strings.HasPrefix(line, "--- "):
			if f == nil || f.old != "" || len(f.hunks) > 0 {
				fresh()
			}
			f.old = patchPath(line[4:], "a/")
		case f == nil:
		case strings.HasPrefix(line, "+++ "):
			f.new = patchPath(line[4:], "b/")
		case strings.HasPrefix(line, "new file mode"):
			f.created = true
		case m != nil:
			f.hunks = append(f.hunks, m[0])
			oldLeft, newLeft = count(m[2]), count(m[4])
		}
	}
	return files
}

func count(s string) int {
	if s == "" {
		return 1
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

// patchPath is the path of a ---/+++ line.
func patchPath(s, prefix string) string {
	if strings.HasPrefix(s, `"`) {
		if plain, err := strconv.Unquote(s); err == nil {
			s = plain
		}
	} else {
		s, _, _ = strings.Cut(s, "\t") // a time stamp
	}
	if s == "/dev/null" {
		return ""
	}
	return strings.TrimPrefix(s, prefix)
}

// prepareNew makes the files that a patch only adds lines to, without saying
// that they are new: old versions of git wrote so for files added with `git add
// -N`, and git apply wants them there.
func (mk *maker) prepareNew(diff string) error {
	root, err := os.OpenRoot(mk.top)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, f := range parsePatch(diff) {
		if f.created || f.old == "" || f.old != f.new || len(f.hunks) != 1 || !strings.HasPrefix(f.hunks[0], "@@ -0,0 ") {
			continue
		}
		if _, err := root.Lstat(f.old); err == nil || strings.HasPrefix(f.old, ".git/") {
			continue
		}
		// What can't be made, git apply will refuse with better words.
		_ = root.MkdirAll(path.Dir(f.old), 0o755)
		_ = root.WriteFile(f.old, nil, 0o644)
	}
	return nil
}

var (
	failedAt  = regexp.MustCompile(`^error: patch failed: (.*):(\d+)$`)
	failedFor = regexp.MustCompile(`^error: (.*): (patch does not apply|No such file or directory|already exists in (?:working directory|index)|does not exist in (?:working directory|index)|wrong type|invalid path)`)
	quotedIn  = regexp.MustCompile(`^error: .*'([^']+)'`)
)

// explainPatch finds the file and the hunk that git apply complains about.
func explainPatch(diff string, lines []string) *PatchError {
	e := &PatchError{Git: strings.Join(lines, "; ")}
	for _, l := range lines {
		if m := failedAt.FindStringSubmatch(l); m != nil {
			e.File, e.Hunk = m[1], hunkAt(diff, m[1], m[2])
			return e
		}
	}
	for _, l := range lines {
		if m := failedFor.FindStringSubmatch(l); m != nil {
			e.File = m[1]
			return e
		}
		if m := quotedIn.FindStringSubmatch(l); m != nil {
			e.File = m[1]
			return e
		}
	}
	return e
}

// hunkAt names the hunk of a file that starts at a line of the old file.
func hunkAt(diff, file, line string) string {
	for _, f := range parsePatch(diff) {
		if f.old != file && f.new != file {
			continue
		}
		for i, h := range f.hunks {
			if m := hunkLine.FindStringSubmatch(h); m != nil && m[1] == line {
				return fmt.Sprintf("hunk %d of %d (%s)", i+1, len(f.hunks), h)
			}
		}
	}
	return "at line " + line
}
