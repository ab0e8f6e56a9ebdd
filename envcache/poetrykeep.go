package envcache

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"agentctl/envcache/internal/secret"
)

const poetryArchives = "archives.json"

// keepArchives puts what poetry downloaded into the wheelhouse, from which a lock is
// installed. It is no failure of a build that it can't.
func (s *site) keepArchives() {
	if err := s.linkArchives(); err != nil {
		s.say(ManagerPoetry, "not all downloads are kept: "+err.Error())
	}
}

func (s *site) linkArchives() error {
	home, err := os.OpenRoot(filepath.Join(s.work, "home"))
	if err != nil {
		return err
	}
	defer func() { _ = home.Close() }()
	data, err := readLimited(home, poetryArchives, mostReport)
	if err != nil {
		return err
	}
	var archives map[string]string
	if err := json.Unmarshal(data, &archives); err != nil {
		return fmt.Errorf("%s is not valid: %w", poetryArchives, err)
	}
	dir, err := s.downloads(ManagerPoetry)
	if err != nil {
		return err
	}
	cache, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = cache.Close() }()
	house, err := s.openHouse()
	if err != nil {
		return err
	}
	var failed error
	for _, digest := range slices.Sorted(maps.Keys(archives)) {
		// The build's user wrote all this: only wheels of that user's own cache count.
		rel, err := filepath.Rel(dir, archives[digest])
		name := filepath.Base(rel)
		if err != nil || !filepath.IsLocal(rel) || !wheelName.MatchString(name) || !fileDigest.MatchString(digest) || house.files[digest] != "" {
			continue
		}
		f, err := openPlain(cache, rel)
		if err == nil {
			err = errors.Join(linkOpen(f, filepath.Join(house.dir, digest+houseMark+name)), f.Close())
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

var (
	lockedGit = regexp.MustCompile(`(?m)^type = "git"\r?\nurl = "(https?://[^"\s]+)"`)
	wantedGit = regexp.MustCompile(`"git":"(https?://[^"\s]+)"|git\+(https?://[^"\s]+)`)
)

// links are the addresses that the project's packages come from, those of
// repositories in pip's form.
func (p *poetryProject) links() []string {
	var links []string
	for _, s := range p.sources() {
		plain, _ := secret.SplitURL(s.url)
		links = append(links, plain)
	}
	add := func(url string) {
		if plain, login := secret.SplitURL(url); url != "" && login.Empty() {
			links = append(links, "git+"+plain)
		}
	}
	for _, m := range lockedGit.FindAllSubmatch(p.lock, -1) {
		add(string(m[1]))
	}
	for _, line := range p.lines {
		for _, m := range wantedGit.FindAllStringSubmatch(line, -1) {
			add(m[1])
			add(m[2])
		}
	}
	return links
}
