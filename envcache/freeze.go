package envcache

import (
	"cmp"
	"encoding/json"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/envcache/internal/secret"
)

// mostMetadata is how much of a package's metadata is read: name and version
// stand at the top.
const mostMetadata = 64 << 10

// freeze lists the packages of an environment in the words of pip freeze, from
// the metadata on disk: no interpreter has to start. Where a package came from,
// other than an index, is what direct_url.json says (PEP 610). What came from
// the task's repository is named by its path there.
func freeze(root *os.Root, env string) ([]string, error) {
	sites, err := sitePackages(root)
	if err != nil {
		return nil, err
	}
	files, err := fs.ReadDir(root.FS(), sites)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range files {
		var meta string
		switch {
		case strings.HasSuffix(f.Name(), ".dist-info"):
			meta = "METADATA"
		case strings.HasSuffix(f.Name(), ".egg-info"):
			meta = "PKG-INFO"
		default:
			continue
		}
		dir := path.Join(sites, f.Name())
		name, version := readMetadata(root, path.Join(dir, meta))
		if name != "" {
			line := frozenLine(name, version, readSome(root, path.Join(dir, "direct_url.json")), env)
			if link, ok := strings.CutPrefix(line, name+" @ file://"+env+"/src/"); ok {
				line = cmp.Or(cloned(root, name, link), line)
			}
			all = append(all, line)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.Compact(all), nil
}

func readSome(root *os.Root, name string) []byte {
	info, err := root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, mostMetadata))
	if err != nil {
		return nil
	}
	return data
}

func readMetadata(root *os.Root, file string) (name, version string) {
	for line := range strings.Lines(string(readSome(root, file))) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break // the description, which may hold anything
		}
		if v, ok := strings.CutPrefix(line, "Name:"); ok && name == "" {
			name = strings.TrimSpace(v)
		}
		if v, ok := strings.CutPrefix(line, "Version:"); ok && version == "" {
			version = strings.TrimSpace(v)
		}
	}
	if namePart.FindStringSubmatch(name) == nil || strings.ContainsAny(name+version, " \n\t;@") {
		return "", ""
	}
	return name, version
}

// directURL is PEP 610's record of a package that came from no index.
type directURL struct {
	URL     string
	Subdir  string `json:"subdirectory"`
	VCSInfo *struct {
		VCS    string
		Commit string `json:"commit_id"`
	} `json:"vcs_info"`
	DirInfo *struct{ Editable bool } `json:"dir_info"`
	Archive *struct {
		Hash   string
		Hashes map[string]string
	} `json:"archive_info"`
}

func frozenLine(name, version string, direct []byte, env string) string {
	var d directURL
	if len(direct) == 0 || json.Unmarshal(direct, &d) != nil || d.URL == "" {
		return name + "==" + version
	}
	link, _ := secret.SplitURL(d.URL)
	if rel, ok := inCheckout(link, env); ok {
		if d.DirInfo != nil && d.DirInfo.Editable {
			return "-e " + rel
		}
		return rel
	}
	var fragment []string
	switch {
	case d.VCSInfo != nil:
		link = d.VCSInfo.VCS + "+" + link + "@" + d.VCSInfo.Commit
	case d.Archive != nil && d.Archive.Hashes["sha256"] != "":
		fragment = append(fragment, "sha256="+d.Archive.Hashes["sha256"])
	}
	if d.Subdir != "" {
		fragment = append(fragment, "subdirectory="+d.Subdir)
	}
	if len(fragment) > 0 {
		link += "#" + strings.Join(fragment, "&")
	}
	return name + " @ " + link
}

// inCheckout turns the URL of a path in the environment's copy of the
// repository into a path relative to the repository.
func inCheckout(link, env string) (string, bool) {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "file" {
		return "", false
	}
	rel, err := filepath.Rel(filepath.Join(env, checkout), u.Path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	if rel == "." {
		return ".", true
	}
	return "./" + rel, true
}
