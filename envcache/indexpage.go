package envcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strings"
)

// pageFile is a file that a page of a simple index names.
type pageFile struct {
	name     string
	url      string // without credentials and digest
	sha256   string // "" where the page gives none
	requires string // versions of Python, as ">=3.9"; "" where it doesn't tell
}

var (
	anchor   = regexp.MustCompile(`(?is)<a\s((?:[^>"']|"[^"]*"|'[^']*')*)>`)
	href     = regexp.MustCompile(`(?is)(?:^|\s)href\s*=\s*("[^"]*"|'[^']*')`)
	requires = regexp.MustCompile(`(?is)(?:^|\s)data-requires-python\s*=\s*("[^"]*"|'[^']*')`)
	sha256In = regexp.MustCompile(`(?:^|&)sha256=([0-9a-f]{64})(?:&|$)`)
)

// pageFiles reads a page of a simple index, in its JSON (PEP 691) or HTML (PEP
// 503) form.
func pageFiles(page []byte, from *url.URL) []pageFile {
	var doc struct {
		Files []struct {
			Filename, URL string
			Requires      string            `json:"requires-python"`
			Hashes        map[string]string `json:"hashes"`
		} `json:"files"`
	}
	var files []pageFile
	add := func(link, requires, sha string) {
		u, err := from.Parse(link)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" {
			return
		}
		if m := sha256In.FindStringSubmatch(u.Fragment); m != nil {
			sha = m[1]
		}
		u.Fragment, u.User = "", nil
		files = append(files, pageFile{u.Path[strings.LastIndex(u.Path, "/")+1:], u.String(), sha, requires})
	}
	if json.Unmarshal(page, &doc) == nil {
		for _, f := range doc.Files {
			add(f.URL, f.Requires, f.Hashes["sha256"])
		}
		return files
	}
	attribute := func(of *regexp.Regexp, tag []byte) string {
		m := of.FindSubmatch(tag)
		if m == nil {
			return ""
		}
		return html.UnescapeString(string(m[1][1 : len(m[1])-1]))
	}
	for _, m := range anchor.FindAllSubmatch(page, -1) {
		if link := attribute(href, m[1]); link != "" {
			add(link, attribute(requires, m[1]), "")
		}
	}
	return files
}

// page reads the page of a project of the simple index at base.
func (x *index) page(ctx context.Context, base, project string) ([]pageFile, error) {
	body, from, err := x.get(ctx, trimSlash(base)+"/"+project+"/", mostPage)
	if err != nil {
		return nil, err
	}
	return pageFiles(body, from), nil
}

// fetch downloads the file of a project whose name is one of names, and checks
// its digest: sha, or else the one that the page gives.
func (x *index) fetch(ctx context.Context, base, project, sha string, names ...string) ([]byte, error) {
	files, err := x.page(ctx, base, project)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		for _, f := range files {
			if f.name != name {
				continue
			}
			if sha == "" {
				sha = f.sha256
			}
			if sha == "" {
				return nil, fmt.Errorf("the index gives no sha256 of %s", name)
			}
			data, _, err := x.get(ctx, f.url, mostWheel)
			if err != nil {
				return nil, err
			}
			if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != sha {
				return nil, fmt.Errorf("%s has the digest %x, not %s", name, sum, sha)
			}
			return data, nil
		}
	}
	return nil, fmt.Errorf("the index has no %s", strings.Join(names, " or "))
}
