package envcache

import (
	"fmt"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

// pylock is the part of a pylock.toml (PEP 751) that a lock is made of.
type pylock struct {
	Packages []pylockPackage `toml:"packages"`
}

type pylockPackage struct {
	Name    string `toml:"name"`
	Version string `toml:"version"`
	VCS     *struct {
		Type   string `toml:"type"`
		URL    string `toml:"url"`
		Commit string `toml:"commit-id"`
		Subdir string `toml:"subdirectory"`
	} `toml:"vcs"`
	Archive *pylockFile  `toml:"archive"`
	Sdist   *pylockFile  `toml:"sdist"`
	Wheels  []pylockFile `toml:"wheels"`
}

type pylockFile struct {
	URL    string            `toml:"url"`
	Hashes map[string]string `toml:"hashes"`
	Subdir string            `toml:"subdirectory"`
}

// lock turns what uv resolved a list to into a lock. Of a package's files those
// are left that this Python can use: uv takes the best of them. A source is taken
// only where there is no wheel.
func (r pylock) lock(python string, o *uvOptions) (Lock, error) {
	l := Lock{Manager: ManagerUV, Python: python}
	for _, p := range r.Packages {
		line, built, err := p.line(o)
		if err != nil {
			return Lock{}, err
		}
		l.Packages, l.Built = append(l.Packages, line), l.Built || built
	}
	slices.Sort(l.Packages)
	return l, nil
}

func (p pylockPackage) line(o *uvOptions) (line string, built bool, err error) {
	name := normalName(p.Name)
	if name == "" || !plain(name) || strings.ContainsAny(p.Version, " \n\t;#") {
		return "", false, fmt.Errorf("uv names a package %q", shorten(p.Name+" "+p.Version))
	}
	switch {
	case p.VCS != nil:
		if o.hashed {
			return "", false, unhashed(name)
		}
		link, _ := secret.SplitURL(p.VCS.URL)
		return name + " @ " + p.VCS.Type + "+" + link + "@" + p.VCS.Commit + subdirectory(p.VCS.Subdir), true, nil
	case p.Archive != nil:
		link, _ := secret.SplitURL(p.Archive.URL)
		sums, err := o.chosen([]pylockFile{*p.Archive}, name, link, p.Archive.URL)
		return name + " @ " + link + subdirectory(p.Archive.Subdir) + sums, !strings.HasSuffix(link, ".whl"), err
	case len(p.Wheels) > 0:
		sums, err := o.chosen(p.Wheels, name)
		return name + "==" + p.Version + sums, false, err
	case p.Sdist != nil:
		sums, err := o.chosen([]pylockFile{*p.Sdist}, name)
		return name + "==" + p.Version + sums, true, err
	}
	return "", false, fmt.Errorf("%s comes from a folder", name)
}

// chosen are the hashes of a package's files, in the words of a list. Where the
// list gives hashes only those count: if none fits, uv says so.
func (o *uvOptions) chosen(files []pylockFile, keys ...string) (string, error) {
	var sums []string
	for _, f := range files {
		sum := f.Hashes["sha256"]
		if len(sum) != 64 || !plain(sum) {
			return "", fmt.Errorf("%s has no digest", keys[0])
		}
		sums = append(sums, "sha256:"+sum)
	}
	if o.hashed {
		given := o.sums(keys...)
		if len(given) == 0 {
			return "", unhashed(keys[0])
		}
		if both := lo.Intersect(sums, given); len(both) > 0 {
			given = both
		}
		sums = given
	}
	sums = lo.Uniq(sums)
	slices.Sort(sums)
	return " --hash=" + strings.Join(sums, " --hash="), nil
}

func subdirectory(dir string) string {
	if dir == "" {
		return ""
	}
	return "#subdirectory=" + dir
}

func unhashed(name string) error {
	return &BuildError{
		Step: ManagerUV, Cause: "some packages are given with hashes and some without", Exit: Exit{Code: 1},
		Lines: []string{name + " is given without a hash"},
	}
}
