package envcache

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"agentctl/internal/fsx"
)

// path takes a line that installs from a folder or file.
func (r *resolver) path(line string, l reqLine, constraint bool) error {
	if l.value == "" {
		return errors.New("no path is given")
	}
	target := l.value
	if filepath.IsAbs(target) {
		rel, err := filepath.Rel(r.base, target)
		if r.base == "" || err != nil || !filepath.IsLocal(rel) {
			return r.hostPath(line, l, target, constraint)
		}
		line = strings.Replace(line, target, "./"+rel, 1)
		target = rel
	}
	if r.base == "" {
		return errors.New("a local path, but the task has no repository")
	}
	if r.dir != "." && !filepath.IsAbs(l.value) {
		// pip runs at the top of the repository.
		target = path.Join(r.dir, target)
		l.value = "./" + target
		line = l.pathLine()
	}
	if _, err := fsx.SafeJoin(r.base, target); err != nil {
		return err
	}
	r.list.local = true
	r.keep(line, l, constraint)
	return nil
}

// hostPath takes a line that installs from a path of this host, as a list that
// was frozen on such a host names it. What is there may change: the key gets
// its size and time.
func (r *resolver) hostPath(line string, l reqLine, target string, constraint bool) error {
	if inside(r.private, target) {
		return errors.New("the path is inside the agent's own folder")
	}
	info, err := os.Stat(target)
	if err != nil {
		return fmt.Errorf("%s is not on this host", target)
	}
	r.keep(line, l, constraint)
	stamp := fmt.Sprintf("%s size %d time %d", target, info.Size(), info.ModTime().UnixNano())
	r.list.canon = append(r.list.canon, stamp)
	r.list.unpinned = r.list.unpinned || info.IsDir()
	return nil
}

// url takes a line with a URL. A file URL of another machine loses the URL and
// keeps the name, as clearml-agent does it: the index may have the package.
func (r *resolver) url(line string, l reqLine, constraint bool) error {
	scheme, rest, _ := strings.Cut(l.value, "://")
	if scheme != "file" && !strings.HasSuffix(scheme, "+file") {
		r.keep(line, l, constraint)
		return nil
	}
	target, _, _ := strings.Cut(rest, "#")
	target, _, _ = strings.Cut(target, "@")
	if !filepath.IsAbs(target) || inside(r.private, target) {
		return errors.New("a file URL must name an absolute path outside the agent's own folder")
	}
	if _, err := os.Stat(target); err != nil && l.name != "" {
		r.list.notes = append(r.list.notes, fmt.Sprintf("%s is not on this host: %s is taken from the index", target, l.name))
		short := reqLine{kind: lineName, name: l.name, extra: l.extra, mark: l.mark}
		r.keep(short.canon(), short, constraint)
		return nil
	}
	return r.hostPath(line, l, target, constraint)
}

// findLinks takes a folder or a page of packages. Like pip, it looks for a relative
// one beside the file that names it.
func (r *resolver) findLinks(l reqLine, dir string, constraint bool) error {
	target := strings.TrimPrefix(l.value, "file://")
	if !filepath.IsAbs(target) {
		if r.base == "" {
			return errors.New("a local path, but the task has no repository")
		}
		beside := path.Join(dir, target)
		if _, err := os.Stat(filepath.Join(r.base, beside)); err == nil {
			target = beside
		}
	} else if rel, err := filepath.Rel(r.base, target); r.base != "" && err == nil && filepath.IsLocal(rel) {
		target = rel
	}
	if filepath.IsAbs(target) {
		l.value = target
		return r.hostPath(l.canon(), l, target, constraint)
	}
	full, err := fsx.SafeJoin(r.base, target)
	if err != nil {
		return err
	}
	if _, err := os.Stat(full); err != nil {
		return fmt.Errorf("%s is not in the repository", target)
	}
	r.list.local = true
	l.value = "./" + path.Clean(target)
	r.keep(l.canon(), l, constraint)
	return nil
}

// inside tells whether path is dir or below it, links resolved.
func inside(dir, path string) bool {
	if dir == "" {
		return false
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	rel, err := filepath.Rel(dir, filepath.Clean(path))
	return err == nil && filepath.IsLocal(rel)
}
