package sdk

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/server"
	"agentctl/test/e2e/harness"
)

// python is the interpreter of a virtual environment with the SDK.
func python(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the clearml SDK from PyPI and some seconds for each program")
	}
	return harness.SDKPython(t)
}

// site is a server, what its clients need, and what they were answered.
type site struct {
	t      *testing.T
	python string
	front  *httptest.Server // the recorder
	api    string           // through it
	ends   server.Endpoints
	keys   server.Credentials
	client *clearml.Client
	home   string

	mu       sync.Mutex
	refusals []string // "endpoint status" of every answer that was no 200
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, python: python(t), home: t.TempDir()}
	srv, err := server.Open(t.Context(), server.Config{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s.ends, s.keys = srv.Endpoints(), srv.Credentials()
	s.record()
	s.client, err = clearml.New(clearml.Config{URL: s.ends.API, Credentials: func(context.Context) (clearml.Credentials, error) {
		return clearml.Credentials{AccessKey: s.keys.AccessKey, SecretKey: s.keys.SecretKey}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	s.configure(quick)
	return s
}

// record puts a proxy before the API that notes what was refused.
func (s *site) record() {
	target, err := url.Parse(s.ends.API)
	if err != nil {
		s.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.StatusCode != http.StatusOK {
			s.mu.Lock()
			s.refusals = append(s.refusals, regexp.MustCompile(`^/(v[0-9.]+/)?`).ReplaceAllString(r.Request.URL.Path, "")+" "+r.Status[:3])
			s.mu.Unlock()
		}
		return nil
	}
	s.front = httptest.NewServer(proxy)
	s.t.Cleanup(s.front.Close)
	s.api = s.front.URL
}

// quick are settings with which the SDK's background process is off, which makes a
// program some ten seconds faster and changes no call.
const quick = harness.SDKDetectFirst + ", report_use_subprocess: false, worker { report_period_sec: 0.3 }"

func (s *site) configure(development string) {
	write(s.t, filepath.Join(s.home, "clearml.conf"), "sdk { development { "+development+" } }\n")
}

// env is what `agentctl server credentials` tells a user to set.
func (s *site) env() []string {
	return []string{
		"PATH=" + filepath.Dir(s.python) + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + s.home, "TMPDIR=" + s.t.TempDir(), "LANG=C.UTF-8", "PYTHONFAULTHANDLER=1",
		"PYTHONPATH=" + harness.SDKStrict(s.t),
		"CLEARML_CONFIG_FILE=" + filepath.Join(s.home, "clearml.conf"),
		"CLEARML_API_HOST=" + s.api, "CLEARML_FILES_HOST=" + s.ends.Files, "CLEARML_WEB_HOST=" + s.ends.Web,
		"CLEARML_API_ACCESS_KEY=" + s.keys.AccessKey, "CLEARML_API_SECRET_KEY=" + s.keys.SecretKey,
	}
}

// asTask is the environment of a task's process under an agent: a token of its
// own in place of the keys, and no console of its own.
func (s *site) asTask(id string) []string {
	s.t.Helper()
	token, err := s.client.TaskToken(s.t.Context(), id, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	var env []string
	for _, e := range s.env() {
		if !strings.Contains(e, "_KEY=") {
			env = append(env, e)
		}
	}
	return append(env, "CLEARML_AUTH_TOKEN="+token, "CLEARML_TASK_ID="+id, "CLEARML_LOG_TASK_TO_BACKEND=0", "CLEARML_WORKER_ID=node:worker")
}

// run runs a program of testdata and returns what it printed.
func (s *site) run(env []string, program string, args ...string) string {
	s.t.Helper()
	// Away from this repository, which the SDK would take for the task's own.
	dir := s.t.TempDir()
	for _, name := range []string{"checks.py", program} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			s.t.Fatal(err)
		}
		write(s.t, filepath.Join(dir, name), string(text))
	}
	return s.command(dir, env, s.python, append([]string{"-u", filepath.Join(dir, program)}, args...)...)
}

// programTime is long: the machine may be busy with other tests.
const programTime = 4 * time.Minute

func (s *site) command(dir string, env []string, name string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir = env, dir
	// A program that hangs shows where before it dies.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGABRT) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s failed: %v\n%s", filepath.Base(name), err, out)
	}
	if bad := harness.Complaints(string(out)); bad != nil {
		s.t.Errorf("the SDK complains:\n%s\n\nall it said:\n%s", strings.Join(bad, "\n"), out)
	}
	return string(out)
}

// allowed are refusals that belong to the way the SDK works: it takes a queue's
// name for an id first.
func (s *site) noRefusalsBut(allowed ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.refusals {
		if !strings.Contains(strings.Join(allowed, "\n"), r) {
			s.t.Errorf("refused: %s", r)
		}
	}
}

// word finds the value of a line "key=value" that a program printed for the test.
func word(t *testing.T, out, key string) string {
	t.Helper()
	match := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(out)
	if match == nil {
		t.Fatalf("no %s= in:\n%s", key, out)
	}
	return match[1]
}
