package image

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/test/imagekit"
)

// login writes credentials in the form of docker's config.json.
func login(t *testing.T, path, host, user, password string) string {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	data, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": auth}}})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCredentials(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		for _, tls := range []bool{false, true} {
			t.Run(fmt.Sprintf("token %v tls %v", tokens, tls), func(t *testing.T) {
				r := imagekit.Serve(t, &imagekit.Registry{User: "kit", Password: "sesame", Token: tokens, TLS: tls})
				ref := r.Push(t, "kit:1", small(t, "x"))
				home := t.TempDir()
				env := map[string]string{"HOME": home}
				s := openStore(t, t.TempDir(), func(o *Options) { o.Getenv = func(k string) string { return env[k] } }, r)
				refused := func(why string) {
					t.Helper()
					_, err := s.Acquire(t.Context(), Request{Ref: ref, Policy: Always}, nil)
					if err == nil || strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "wrong-one") {
						t.Errorf("%s: %v", why, err)
					}
				}
				refused("without credentials")
				login(t, filepath.Join(home, ".docker", "config.json"), r.Host(), "kit", "wrong-one")
				refused("with wrong ones")
				login(t, filepath.Join(home, ".docker", "config.json"), "elsewhere.example.com", "kit", "sesame")
				refused("with those of another registry")
				if err := os.WriteFile(filepath.Join(home, ".docker", "config.json"), []byte(`{"auths": {"sesame`), 0o600); err != nil {
					t.Fatal(err)
				}
				refused("with a broken file")
				_ = os.RemoveAll(filepath.Join(home, ".docker"))
				// They are read anew each time.
				login(t, filepath.Join(home, ".config", "containers", "auth.json"), r.Host(), "kit", "sesame")
				if l := acquire(t, s, Request{Ref: ref, Policy: Always}); !l.Pulled {
					t.Errorf("%+v", l)
				}
			})
		}
	}
}

func TestCredentialHelper(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{User: "kit", Password: "sesame"})
	ref := r.Push(t, "kit:1", small(t, "x"))
	dir := t.TempDir()
	script := "#!/bin/sh\nread host\n[ \"$1 $host\" = \"get " + r.Host() + "\" ] || exit 1\necho '{\"ServerURL\":\"x\",\"Username\":\"kit\",\"Secret\":\"sesame\"}'\n"
	for path, text := range map[string]string{"docker-credential-kit": script, "own.json": `{"credHelpers": {"` + r.Host() + `": "kit"}}`} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	s := openStore(t, t.TempDir(), func(o *Options) { o.Credentials = filepath.Join(dir, "own.json") }, r)
	acquire(t, s, Request{Ref: ref})
	s = openStore(t, t.TempDir(), func(o *Options) { o.Credentials = filepath.Join(dir, "none.json") }, r)
	if _, err := s.Acquire(t.Context(), Request{Ref: ref}, nil); err == nil || !strings.Contains(err.Error(), "none.json") {
		t.Errorf("without the file that was named: %v", err)
	}
}

func TestWithoutTLSOnlyWhereNamed(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit:1", small(t, "x"))
	s := openStore(t, t.TempDir(), nil)
	if _, err := s.Acquire(t.Context(), Request{Ref: ref}, nil); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("err = %v", err)
	}
	if asked := r.Asked(); len(asked) > 0 {
		t.Errorf("it was asked: %q", asked)
	}
}
