package image

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/name"
)

// Host is the reference of the host's own file system.
const Host = "host"

// longestRef bounds a reference: a repository has at most 255 characters, a host 253,
// a tag 128, and paths are longer.
const longestRef = 4096

// grammar is that of the distribution specification. go-containerregistry takes any
// characters in any order, dots and slashes too, and makes addresses of them.
var grammar = regexp.MustCompile(`^(?:[A-Za-z0-9]+(?:[.-]+[A-Za-z0-9]+)*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?` +
	`(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@[a-z0-9]+:[0-9a-f]{32,})$`)

var digestAlone = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

type where int

const (
	inRegistry where = iota
	inLayout
	inArchive       // of an OCI layout
	inDockerArchive // of docker save
	onHost
	byDigest // wherever it came from
)

var prefixes = []struct {
	text  string
	where where
}{{"oci:", inLayout}, {"oci-archive:", inArchive}, {"docker-archive:", inDockerArchive}}

// Reference is the name of an image and where it is.
type Reference struct {
	where where
	path  string         // of a layout or an archive
	name  string         // of the image in it; may be empty
	ref   name.Reference // in a registry
}

// ParseReference reads REGISTRY/REPOSITORY[:TAG][@DIGEST] as docker does,
// oci:FOLDER[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], host, or the
// digest of an image that is here.
func ParseReference(s string) (Reference, error) {
	bad := func(err error) (Reference, error) {
		return Reference{}, fmt.Errorf("%.128q names no image: %w", s, err)
	}
	switch {
	case s == "":
		return bad(errors.New("it is empty"))
	case len(s) > longestRef:
		return bad(errors.New("it is too long"))
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		return bad(errors.New("it holds blanks"))
	case s == Host:
		return Reference{where: onHost}, nil
	case digestAlone.MatchString(s): // else a tag of an image that is called sha256
		return Reference{where: byDigest, name: s}, nil
	}
	for _, p := range prefixes {
		rest, ok := strings.CutPrefix(s, p.text)
		if !ok {
			continue
		}
		path, of, _ := strings.Cut(rest, ":")
		if !filepath.IsAbs(path) {
			return bad(errors.New("the path must be absolute"))
		}
		return Reference{where: p.where, path: filepath.Clean(path), name: of}, nil
	}
	ref, err := name.ParseReference(s)
	if err != nil {
		return bad(err)
	}
	if !grammar.MatchString(ref.Name()) {
		return bad(errors.New("write REGISTRY/REPOSITORY[:TAG][@DIGEST], in lower case"))
	}
	return Reference{ref: ref}, nil
}

// ParseTarget reads where an image is to go: a tag in a registry, or a folder or file, whose
// path may be relative.
func ParseTarget(s string) (Reference, error) {
	for _, p := range prefixes {
		path, ok := strings.CutPrefix(s, p.text)
		if !ok || path == "" {
			continue
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return Reference{}, err
		}
		s = p.text + abs
	}
	r, err := ParseReference(s)
	if err == nil && (r.where == onHost || r.digest() != "") {
		err = fmt.Errorf("an image can't go to %s; name a tag in a registry, oci:FOLDER, oci-archive:FILE or docker-archive:FILE", r)
	}
	if err == nil && r.where == inDockerArchive {
		_, err = r.tag()
	}
	return r, err
}

// tag is the name of an image in an archive of docker save.
func (r Reference) tag() (name.Tag, error) { return name.NewTag(cmp.Or(r.name, "latest")) }

// Local tells that the image is read from a file or folder of this host, or is the
// host: what a task must not choose.
func (r Reference) Local() bool { return r.where != inRegistry && r.where != byDigest }

// String is the one spelling of all that mean the same.
func (r Reference) String() string {
	switch r.where {
	case onHost:
		return Host
	case byDigest:
		return r.name
	case inRegistry:
		return display(r.ref.Name())
	}
	for _, p := range prefixes {
		switch {
		case p.where != r.where:
		case r.name == "":
			return p.text + r.path
		default:
			return p.text + r.path + ":" + r.name
		}
	}
	return ""
}

// display writes the name of Docker's registry as people do.
func display(ref string) string {
	host, rest, _ := strings.Cut(ref, "/")
	return displayHost(host) + "/" + rest
}

func displayHost(host string) string {
	if host == name.DefaultRegistry {
		return "docker.io"
	}
	return host
}

// digest is the digest that the reference is pinned to, or empty.
func (r Reference) digest() string {
	if r.where == byDigest {
		return r.name
	}
	if d, ok := r.ref.(name.Digest); ok {
		return d.DigestStr()
	}
	return ""
}

// pinned is the reference with a digest in place of the tag, or the digest alone, if it
// tells nothing where it came from.
func (r Reference) pinned(digest string) string {
	if r.where != inRegistry {
		return digest
	}
	return display(r.ref.Context().Name()) + "@" + digest
}
