package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"agentctl/internal/fsx"
)

// module is one submodule: a path whose content is a commit of another
// repository.
type module struct {
	name, path, commit, url, update string
}

// submodules makes the submodules of a working tree, and theirs. git's own
// command for it is not used: it takes the settings of a hostile file, knows no
// mirrors, and clones from whatever that file names.
func (mk *maker) submodules(ctx context.Context, addr address, commit, dir string, depth int) error {
	modules, err := mk.modules(ctx, commit, dir)
	if err != nil {
		return err
	}
	for _, m := range modules {
		if m.url == "" {
			mk.warnings = append(mk.warnings, fmt.Sprintf("%s is a commit of another repository, but .gitmodules does not say which: the folder stays empty", m.path))
			continue
		}
		if m.update == "none" {
			continue
		}
		if mk.seen++; mk.seen > mostModules || depth >= deepestModules {
			return fmt.Errorf("submodule %s: there are too many, or they are nested too deeply", m.path)
		}
		if err := mk.submodule(ctx, addr, dir, m, depth); err != nil {
			return fmt.Errorf("submodule %s: %w", m.path, err)
		}
	}
	return nil
}

func (mk *maker) submodule(ctx context.Context, parent address, dir string, m module, depth int) error {
	link, err := parent.relative(m.url)
	if err != nil {
		return err
	}
	addr, err := parseAddress(link)
	if err != nil {
		return err
	}
	if addr.local() && !mk.r.addr.local() {
		return fmt.Errorf("%s is a path of this host, which a repository from elsewhere must not name", addr.url)
	}
	if addr.login.Empty() && addr.origin == parent.origin {
		addr.login = parent.login
	}
	if addr, err = mk.reach(ctx, addr); err != nil {
		return err
	}
	target, err := emptyFolder(dir, m.path)
	if err != nil {
		return err
	}
	mk.r.say("repository", "submodule "+m.path)
	if err := mk.tree(ctx, addr, m.commit, target, depth+1); err != nil {
		return err
	}
	for key, value := range map[string]string{"url": addr.url, "active": "true"} {
		if _, err := mk.git(ctx, dir, "config", call{}, "config", "submodule."+m.name+"."+key, value); err != nil {
			return err
		}
	}
	return nil
}

// reach is how a submodule is reached. Who may read the repository that names it may
// name it as well: it is no way to a login that its task had not.
func (mk *maker) reach(ctx context.Context, addr address) (address, error) {
	to, err := mk.r.src.Access.reach(ctx, addr)
	if err == nil && to.url != addr.url {
		mk.r.say("repository", "taking "+to.url+" for "+addr.url)
	}
	mk.r.secrets.Add(to.login)
	return to, err
}

// emptyFolder gives the folder for a submodule, and fails if a link leads
// there: the clone would be written to where the link points.
func emptyFolder(dir, rel string) (string, error) {
	target, err := fsx.SafeJoin(dir, rel)
	if err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	for p := path.Clean(rel); p != "."; p = path.Dir(p) {
		info, err := root.Lstat(p)
		if err != nil {
			return "", err
		}
		if !info.IsDir() || strings.EqualFold(path.Base(p), ".git") {
			return "", fmt.Errorf("%s is no plain folder", p)
		}
	}
	files, err := os.ReadDir(target)
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("the folder is not empty")
	}
	return filepath.Clean(target), err
}

// modules lists the submodules of a commit: the paths from its tree, their
// URLs from its .gitmodules.
func (mk *maker) modules(ctx context.Context, commit, dir string) ([]module, error) {
	if _, err := os.Lstat(filepath.Join(dir, ".gitmodules")); err != nil {
		// Without the file there may still be stray ones, for which there is
		// nothing to do; most repositories have neither.
		return nil, nil //nolint:nilerr // not there
	}
	out, err := mk.git(ctx, dir, "ls-tree", call{}, "ls-tree", "-r", "-z", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	settings, err := mk.git(ctx, dir, "config", call{}, "config", "--blob", commit+":.gitmodules", "-z", "--get-regexp", `^submodule\..*\.(path|url|update)$`)
	var failed *GitError
	if errors.As(err, &failed) && failed.Exit.Code == 1 && len(failed.Lines) == 0 {
		err = nil // it says nothing
	}
	if err != nil {
		return nil, fmt.Errorf(".gitmodules can't be read: %w", err)
	}
	byPath := parseModules(settings)
	var found []module
	for entry := range strings.SplitSeq(out, "\x00") {
		head, name, ok := strings.Cut(entry, "\t")
		words := strings.Fields(head)
		if !ok || len(words) != 3 || words[0] != "160000" || !fullCommit(words[2]) {
			continue
		}
		m := byPath[name]
		m.path, m.commit = name, words[2]
		found = append(found, m)
	}
	return found, nil
}

// parseModules reads the answer of git config -z: each entry is a key, a line
// feed, a value and a NUL.
func parseModules(settings string) map[string]module {
	byName := map[string]module{}
	for entry := range strings.SplitSeq(settings, "\x00") {
		key, value, _ := strings.Cut(entry, "\n")
		key, ok := strings.CutPrefix(key, "submodule.")
		i := strings.LastIndex(key, ".")
		if !ok || i < 0 {
			continue
		}
		m := byName[key[:i]]
		m.name = key[:i]
		switch key[i+1:] {
		case "path":
			m.path = value
		case "url":
			m.url = value
		case "update":
			m.update = value
		}
		byName[m.name] = m
	}
	byPath := map[string]module{}
	for _, m := range byName {
		if m.path != "" {
			byPath[m.path] = m
		}
	}
	return byPath
}
