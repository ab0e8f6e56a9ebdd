package main

import (
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/runtime/image"
	"agentctl/test/imagekit"
)

// serveImages serves kit/one:1 and kit/two:1, which share a layer, until the script
// ends, sets a variable to the registry's host and, with tls, writes ca.pem:
// registry NAME [basic] [token] [tls].
func serveImages(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: registry NAME [basic] [token] [tls]")
	}
	r := &imagekit.Registry{TLS: slices.Contains(args, "tls"), Token: slices.Contains(args, "token")}
	if r.Token || slices.Contains(args, "basic") {
		r.User, r.Password = "kit", "sesame"
	}
	imagekit.Start(r)
	ts.Defer(r.Close)
	base, err := imagekit.Tar(imagekit.File{Name: "etc/"}, imagekit.File{Name: "etc/motd", Body: strings.Repeat("welcome\n", 1000)})
	ts.Check(err)
	for _, name := range []string{"one", "two"} {
		top, err := imagekit.Tar(imagekit.File{Name: name, Body: name})
		ts.Check(err)
		img, err := imagekit.Build(v1.Config{Cmd: []string{name}, Env: []string{"KIT=" + name}}, base, top)
		ts.Check(err)
		ts.Check(r.Put("kit/"+name+":1", img))
	}
	ts.Setenv(args[0], r.Host())
	if r.TLS {
		data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
		ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), data, 0o644))
	}
}

// holdImage leases an image until the script ends: hold-image STATE REF.
func holdImage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hold-image STATE REF")
	}
	s, err := image.Open(filepath.Join(args[0], "images"), image.Options{Recorded: true, Getenv: ts.Getenv})
	ts.Check(err)
	l, err := s.Acquire(context.Background(), image.Request{Ref: args[1], Policy: image.Never}, nil)
	ts.Check(err)
	ts.Defer(func() { _, _ = l.Close(), s.Close() })
}

func TestImagesOfAnotherUserAreRefused(t *testing.T) {
	state := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	if err := os.Mkdir(filepath.Join(state, "images"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(state, "images"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	m := Main{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
	if code := m.Run(t.Context(), []string{"image", "ls", "--state", state}); code != exitFailed || !strings.Contains(errs.String(), "belong to the user with id 65534") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}
