package imagekit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"agentctl/internal/fsx"
)

// The login of DockerRegistry; bcrypt is the only form that it takes.
const (
	DockerUser, DockerPassword = "kit", "sesame"
	dockerLogin                = "kit:$2a$05$nIiXccXnkfb5rapMDN7d9eICdAwSVudtNeZFj1ak/Plr.3f9rOsQO\n"
)

// DockerRegistry starts Docker's own registry, from Debian's package, with basic
// authentication, until the test ends. It gives its HOST:PORT; put images in by PushTo.
func DockerRegistry(t testing.TB) string {
	t.Helper()
	program, err := dockerRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	host := freePort(t)
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\nauth: {htpasswd: {realm: kit, path: %q}}\n",
		filepath.Join(dir, "data"), host, filepath.Join(dir, "htpasswd"))
	for file, text := range map[string]string{"config.yml": config, "htpasswd": dockerLogin} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var words bytes.Buffer
	cmd := exec.Command(program, "serve", filepath.Join(dir, "config.yml"))
	cmd.Stdout, cmd.Stderr, cmd.Env = &words, &words, []string{"OTEL_TRACES_EXPORTER=none"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("docker's registry said:\n%s", words.Bytes())
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			_ = resp.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			return host
		}
		if time.Now().After(end) {
			t.Fatalf("docker's registry does not answer: %v", err)
		}
	}
}

// freePort finds an address that nobody listens at.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// PushTo puts an image into DockerRegistry, as "repository:tag", and gives its
// reference.
func PushTo(t testing.TB, host, image string, img v1.Image) string {
	t.Helper()
	ref, err := name.ParseReference(host+"/"+image, name.Insecure)
	if err == nil {
		err = remote.Write(ref, img, remote.WithAuth(&authn.Basic{Username: DockerUser, Password: DockerPassword}))
	}
	if err != nil {
		t.Fatal(err)
	}
	if tr, ok := remote.DefaultTransport.(*http.Transport); ok {
		tr.CloseIdleConnections()
	}
	return host + "/" + image
}

// dockerRegistry fetches the program, once for all test programs on this host.
func dockerRegistry(ctx context.Context) (string, error) {
	dir, err := cache()
	if err != nil {
		return "", err
	}
	lock, err := fsx.WaitLock(ctx, filepath.Join(dir, "docker-registry.lock"))
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	at := filepath.Join(dir, "docker-registry-"+kept)
	program := filepath.Join(at, "usr", "bin", "docker-registry")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	work, err := os.MkdirTemp(dir, "docker-registry-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	found, err := debs(work, false, []string{"docker-registry"})
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("the package docker-registry is %s", strings.Join(found, ", "))
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", found[0], filepath.Join(work, "root")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot unpack docker's registry: %w\n%s", err, out)
	}
	return program, errors.Join(os.RemoveAll(at), os.Rename(filepath.Join(work, "root"), at))
}
