package envcache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/envcache/internal/secret"
)

const (
	mostText     = 4 << 20 // bytes of requirements, all files together
	mostIncludes = 100     // -r and -c lines, at any depth
)

// reqList is a requirements list after its -r and -c files were read, without
// credentials.
type reqList struct {
	lines       []string // what pip gets, in the order given
	constraints []string
	canon       []string // what the key gets: one spelling, sorted
	options     []string // options for the whole list, in order
	constrCanon []string
	unpinned    bool
	local       bool // something is installed from BaseDir
	editable    bool // and stays there
	logins      []urlLogin
	links       []string // addresses that something comes from, as lines name them
	notes       []string
}

// urlLogin is a credential that stood in a URL; vcs tells who needs it.
type urlLogin struct {
	url string // without it
	vcs bool
	secret.Login
}

// resolver reads a requirements list and the files that it names.
type resolver struct {
	base     string // BaseDir, or ""
	dir      string // below base, that paths start from
	private  string // folder nothing may be installed from: the agent's state
	root     *os.Root
	list     reqList
	size     int
	includes int
}

// resolveRequirements reads requirements and constraints. Files are read below
// base only. private is a folder whose content no line may name.
func resolveRequirements(requirements, constraints []string, base, private string) (reqList, error) {
	return resolveRequirementsIn(".", requirements, constraints, base, private)
}

// resolveRequirementsIn is resolveRequirements for lines of a file in the folder
// dir of base: their -r and -c lines start there.
func resolveRequirementsIn(dir string, requirements, constraints []string, base, private string) (reqList, error) {
	r := &resolver{base: base, dir: dir, private: private}
	if base != "" {
		root, err := os.OpenRoot(base)
		if err != nil {
			return reqList{}, fmt.Errorf("cannot read requirements: %w", err)
		}
		defer func() { _ = root.Close() }()
		r.root = root
	}
	if err := r.text(strings.Join(requirements, "\n"), dir, false); err != nil {
		return reqList{}, fmt.Errorf("cannot read requirements: %w", err)
	}
	if err := r.text(strings.Join(constraints, "\n"), ".", true); err != nil {
		return reqList{}, fmt.Errorf("cannot read constraints: %w", err)
	}
	slices.Sort(r.list.canon)
	r.list.canon = slices.Compact(r.list.canon)
	slices.Sort(r.list.constrCanon)
	r.list.constrCanon = slices.Compact(r.list.constrCanon)
	return r.list, nil
}

// text takes one text; dir is the folder that its -r lines start from.
func (r *resolver) text(text, dir string, constraint bool) error {
	if r.size += len(text); r.size > mostText {
		return fmt.Errorf("the list is longer than %d MiB", mostText>>20)
	}
	if strings.ContainsRune(text, 0) {
		return errors.New("the list holds a NUL byte")
	}
	for _, line := range logicalLines(text) {
		line = r.strip(line)
		err := r.line(line, parseLine(line), dir, constraint)
		if inner := (*lineError)(nil); err != nil && !errors.As(err, &inner) {
			err = &lineError{line, err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lineError names the line that is to blame, not the lines that led to it.
type lineError struct {
	line string
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("%q: %v", shorten(e.line), e.err) }
func (e *lineError) Unwrap() error { return e.err }

func shorten(s string) string {
	if r := []rune(s); len(r) > 200 {
		return string(r[:200]) + "…"
	}
	return s
}

func (r *resolver) line(line string, l reqLine, dir string, constraint bool) error {
	switch l.kind {
	case lineInclude, lineConstr:
		if !strings.Contains(l.value, "://") {
			return r.include(l.value, dir, constraint || l.kind == lineConstr)
		}
	case linePath:
		return r.path(line, l, constraint)
	case lineEditable:
		if strings.Contains(l.value, "://") {
			return r.url(line, l, constraint)
		}
		if !vcsScheme.MatchString(l.value) {
			r.list.editable = true
			return r.path(line, l, constraint)
		}
	case lineURL, lineVCS:
		return r.url(line, l, constraint)
	case lineOption:
		if scheme, _, isURL := strings.Cut(l.value, "://"); l.flag == "--find-links" && (!isURL || scheme == "file") {
			return r.findLinks(l, dir, constraint)
		}
	}
	r.keep(line, l, constraint)
	return nil
}

// keep adds a line to what pip gets and to what the key is made of.
func (r *resolver) keep(line string, l reqLine, constraint bool) {
	if strings.Contains(l.value, "://") {
		r.list.links = append(r.list.links, l.value)
	}
	switch {
	case constraint && l.kind != lineOption:
		r.list.constraints = append(r.list.constraints, line)
		r.list.constrCanon = append(r.list.constrCanon, l.canon())
		return
	case l.kind == lineOption:
		r.list.options = append(r.list.options, l.canon())
	default:
		r.list.canon = append(r.list.canon, l.canon())
	}
	r.list.lines = append(r.list.lines, line)
	r.list.unpinned = r.list.unpinned || !l.pinned()
}

// include reads a file that a -r or -c line names.
func (r *resolver) include(name, dir string, constraint bool) error {
	if r.includes++; r.includes > mostIncludes {
		return fmt.Errorf("more than %d files are named by -r and -c", mostIncludes)
	}
	rel := path.Join(dir, name)
	if filepath.IsAbs(name) || !filepath.IsLocal(rel) || r.root == nil {
		return fmt.Errorf("%s: files are read from the task's repository only", name)
	}
	f, err := r.root.Open(rel)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is not in the repository", rel)
		}
		return err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("%s is no file", rel))
	}
	data, err := io.ReadAll(io.LimitReader(f, mostText+1))
	if err != nil {
		return err
	}
	return r.text(string(data), path.Dir(rel), constraint)
}

// strip takes the credentials out of the URLs of a line.
func (r *resolver) strip(line string) string {
	words := strings.Split(line, " ")
	for i, w := range words {
		at := strings.Index(w, "://")
		if at < 0 {
			continue
		}
		start := strings.LastIndexFunc(w[:at], func(c rune) bool { return !schemeRune(c) }) + 1
		clean, login := secret.SplitURL(w[start:])
		if login.Empty() {
			continue
		}
		words[i] = w[:start] + clean
		if strings.Contains(login.User+login.Password, "${") {
			r.list.notes = append(r.list.notes, "credentials by environment variables are left out of "+clean+": builds don't see the agent's environment")
			continue
		}
		r.list.logins = append(r.list.logins, urlLogin{clean, vcsScheme.MatchString(clean), login})
	}
	return strings.Join(words, " ")
}

func schemeRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("+.-", c)
}
