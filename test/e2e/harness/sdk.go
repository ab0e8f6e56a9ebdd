package harness

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SDKVersion is the clearml that the tests use, from PyPI.
const SDKVersion = "2.1.12"

// SDKDetectFirst is a setting of sdk.development: the SDK looks at the repository before
// Task.init goes on. By default a thread starts git while the SDK forks its background
// process, and when the two meet the program hangs for five minutes (seen with 2.1.12:
// the fork holds git's error pipe open).
const SDKDetectFirst = "vcs_repo_detect_async: false"

// sdkSettings has it report from its own process as well: a background process uses the
// connections that it inherits, so that now and then one of the two reads the other's
// answer, or waits two minutes for its own (seen with pipelines).
const sdkSettings = SDKDetectFirst + ", report_use_subprocess: false"

// SDKPython is the interpreter of a virtual environment that holds the SDK:
// AGENTCTL_SDK_VENV, made if need be.
func SDKPython(t testing.TB) string {
	t.Helper()
	return filepath.Join(installed(t, "clearml", SDKVersion, sdkVenv(t)), "bin", "python")
}

func sdkVenv(t testing.TB) string {
	if venv := os.Getenv("AGENTCTL_SDK_VENV"); venv != "" {
		return venv
	}
	return filepath.Join(Root(t), ".cache", "sdk-"+SDKVersion)
}

// installed makes a virtual environment with a package of PyPI, unless it is there.
func installed(t testing.TB, name, version, venv string) string {
	t.Helper()
	made := exec.Command("bash", filepath.Join(Root(t), "test", "setup", "sdk.sh"), version, venv, name)
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("cannot install %s: %v\n%s", name, err, out)
	}
	return venv
}

// sdkPatience is long: the machine may be busy with other tests.
const sdkPatience = 5 * time.Minute

// SDK runs a Python program with the real SDK against the node's server, in a
// folder, and returns what it prints on standard output. A complaint of the SDK
// fails the test.
func (n *Node) SDK(dir, program string, args ...string) string {
	n.T.Helper()
	return n.StartSDK(dir, program, args...)()
}

// StartSDK is SDK for a program beside which the test goes on; wait waits for its end.
func (n *Node) StartSDK(dir, program string, args ...string) (wait func() string) {
	n.T.Helper()
	// A file outside of any repository: the SDK looks for the text and the repository of
	// what runs.
	file := filepath.Join(n.T.TempDir(), "author.py")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		n.T.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(n.T.Context(), sdkPatience)
	var out, talk bytes.Buffer
	cmd := exec.CommandContext(ctx, SDKPython(n.T), append([]string{file}, args...)...)
	cmd.Dir, cmd.Env = dir, append(n.SDKEnv(), "PYTHONPATH="+SDKStrict(n.T), "PYTHONFAULTHANDLER=1")
	cmd.Stdout, cmd.Stderr = &out, &talk
	// A program that hangs shows where before it dies.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGABRT) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		n.T.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { // ends with the program, which the end of the test ends
		defer cancel()
		ended <- cmd.Wait()
	}()
	return func() string {
		n.T.Helper()
		if err := <-ended; err != nil {
			n.T.Fatalf("a program with the SDK failed: %v\n%s%s", err, out.String(), talk.String())
		}
		if bad := Complaints(out.String() + talk.String()); bad != nil {
			n.T.Errorf("the SDK complains:\n%s\n\nall it said:\n%s%s", strings.Join(bad, "\n"), out.String(), talk.String())
		}
		return out.String()
	}
}

// SDKEnv is what `agentctl server credentials` tells a user to set. HOME is the tests'
// own, so that no clearml.conf of the person who runs them has a say.
func (n *Node) SDKEnv() []string {
	n.T.Helper()
	home := filepath.Join(n.Dir, "sdk-home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		n.T.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "clearml.conf"), []byte("sdk { development { "+sdkSettings+" } }\n"), 0o600); err != nil {
		n.T.Fatal(err)
	}
	keys, err := n.credentials(n.T.Context())
	if err != nil {
		n.T.Fatal(err)
	}
	ends := n.Endpoints()
	return append(os.Environ(), "HOME="+home,
		"CLEARML_API_HOST="+ends.API, "CLEARML_FILES_HOST="+ends.Files, "CLEARML_WEB_HOST="+ends.Web,
		"CLEARML_API_ACCESS_KEY="+keys.AccessKey, "CLEARML_API_SECRET_KEY="+keys.SecretKey)
}

// refusal is a line of the server's metrics about answers that were no 200, or about an
// endpoint that it does not have.
var refusal = regexp.MustCompile(`(?m)^agentctl_server_(?:requests_total\{code="([345]\d\d)",endpoint="([^"]*)"\}|unsupported_requests_total\{service="([^"]*)"\}) [1-9]`)

// Refused is what the node's server has refused so far, as "ENDPOINT STATUS", or as
// "unsupported SERVICE".
func (n *Node) Refused() (found []string) {
	n.T.Helper()
	keys, err := n.credentials(n.T.Context())
	if err != nil {
		n.T.Fatal(err)
	}
	req, err := http.NewRequestWithContext(n.T.Context(), http.MethodGet, n.Endpoints().API+"/metrics", nil)
	if err != nil {
		n.T.Fatal(err)
	}
	req.SetBasicAuth(keys.AccessKey, keys.SecretKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.T.Fatal(err)
	}
	defer resp.Body.Close() // read only
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		n.T.Fatalf("the server shows no metrics: %s (%v)", resp.Status, err)
	}
	for _, m := range refusal.FindAllStringSubmatch(string(text), -1) {
		if m[3] != "" {
			found = append(found, "unsupported "+m[3])
		} else {
			found = append(found, m[2]+" "+m[1])
		}
	}
	return found
}
