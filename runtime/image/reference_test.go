package image

import (
	"strings"
	"testing"
)

func TestReferences(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for text, want := range map[string]string{
		"python": "docker.io/library/python:latest", "python:3.12": "docker.io/library/python:3.12", "docker.io/library/python:3.12": "docker.io/library/python:3.12",
		"index.docker.io/library/python": "docker.io/library/python:latest", "me/img": "docker.io/me/img:latest", "localhost:5000/a/b:c": "localhost:5000/a/b:c",
		"r.example.com/a@" + digest: "r.example.com/a@" + digest, "r.example.com/a:b@" + digest: "r.example.com/a@" + digest, "host": "host",
		"oci:/a/../b": "oci:/b", "oci:/a:n": "oci:/a:n", "docker-archive:/x.tar:docker.io/a:1": "docker-archive:/x.tar:docker.io/a:1", "oci-archive:/x": "oci-archive:/x",
		digest: digest, "sha256:abc": "docker.io/library/sha256:abc",
	} {
		if ref, err := ParseReference(text); err != nil || ref.String() != want {
			t.Errorf("%s: %s, %v", text, ref, err)
		}
	}
	for _, bad := range []string{
		"", " ", "a b", "A", "python:", "python@sha256:12", "http://r/a", "https://r/a", "a\x00b", "a\nb", "-", "/", "a//b", "oci:", "oci:relative", "docker-archive:", "../../etc/passwd",
		"r.example.com/../a", strings.Repeat("a", 5000), "a@" + digest + "@" + digest, "a:" + strings.Repeat("t", 200), "\u202ea", "--privileged", "a;rm", "$(id)", "user:pw@r/a", "r:99999999/a/",
	} {
		if ref, err := ParseReference(bad); err == nil {
			t.Errorf("%q was taken as %s", bad, ref)
		}
	}
}

// What an image can't be put into is no target; a path may be relative.
func TestTargets(t *testing.T) {
	t.Chdir("/")
	digest := "sha256:" + strings.Repeat("a", 64)
	for text, want := range map[string]string{
		"r.example.com/a:1": "r.example.com/a:1", "oci:a:n": "oci:/a:n", "oci-archive:a/../b.tar": "oci-archive:/b.tar", "docker-archive:/x.tar:a:1": "docker-archive:/x.tar:a:1",
	} {
		if ref, err := ParseTarget(text); err != nil || ref.String() != want {
			t.Errorf("%s: %s, %v", text, ref, err)
		}
	}
	for _, bad := range []string{"host", digest, "r.example.com/a@" + digest, "r.example.com/a:b@" + digest, "oci:", "docker-archive:/x.tar:A b", "docker-archive:/x.tar:NO:1"} {
		if ref, err := ParseTarget(bad); err == nil {
			t.Errorf("%q was taken as %s", bad, ref)
		}
	}
}

// A reference reads as what it prints, and means one thing only.
func FuzzReference(f *testing.F) {
	for _, s := range []string{"python:3.12", "host", "oci:/a:b", "docker-archive:/a:b:c", "docker-archive:/::", "r:5000/a/b@sha256:" + strings.Repeat("0", 64), "localhost/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(ref.String())
		if err != nil || again.String() != ref.String() || again.Local() != ref.Local() || again.where != ref.where {
			t.Errorf("%q is %q, which is %q: %v", s, ref, again, err)
		}
		if !ref.Local() && strings.ContainsAny(ref.String(), " \n\t\x00\"'$;|&") {
			t.Errorf("%q is %q", s, ref)
		}
	})
}
