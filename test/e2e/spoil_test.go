package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/test/e2e/harness"
)

// spoils rewrites, deletes and adds files in the environment that it runs in, as far
// as it is let, and installs a package.
const spoils = `import os, subprocess, sys, six
site = os.path.dirname(six.__file__)
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "iniconfig==2.1.0"], check=True)
import iniconfig
print("installed for itself", iniconfig.__file__)
def attempt(what, f):
    try:
        f()
        print("did", what)
    except OSError as e:
        print("could not", what, e)
def rewrite(path, text):
    before = os.stat(path)
    with open(path, "r+") as f:
        f.write(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
attempt("rewrite", lambda: rewrite(six.__file__, "raise SystemExit('poisoned')\n"))
attempt("rewrite bytecode", lambda: rewrite(six.__cached__, "poisoned"))
attempt("add", lambda: open(os.path.join(site, "sitecustomize.py"), "w").write("raise SystemExit('poisoned')\n"))
info = [d for d in os.listdir(site) if d.startswith("six-")][0]
attempt("delete", lambda: os.remove(os.path.join(site, info, "METADATA")))
attempt("change the mode", lambda: os.chmod(os.path.join(site, info, "RECORD"), 0o777))
attempt("replace the interpreter", lambda: (os.remove(os.path.join(root, "bin", "python")), os.symlink("/bin/false", os.path.join(root, "bin", "python"))))
`

// hashes tells which environment it runs in, and the digest of all its files.
const hashes = `import hashlib, importlib.util, os, six
assert importlib.util.find_spec("iniconfig") is None, "sees what another task installed"
lines = []
for folder, dirs, files in os.walk(root):
    for name in files + [d for d in dirs if os.path.islink(os.path.join(folder, d))]:
        path = os.path.join(folder, name)
        rel = os.path.relpath(path, root)
        if os.path.islink(path):
            lines.append(rel + " -> " + os.readlink(path))
        else:
            with open(path, "rb") as f:
                lines.append("%s %o %s" % (rel, os.stat(path).st_mode & 0o777, hashlib.sha256(f.read()).hexdigest()))
lines.sort()
print("environment", os.path.basename(root), hashlib.sha256("\n".join(lines).encode()).hexdigest(), len(lines), six.__version__)
`

// place finds the environment itself, which in a thin one is below it.
const place = `import os, six
root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(six.__file__)))))
`

// A task spoils its environment. The next one with the same list finds every file as
// it was built, and nothing more, whatever the host has to keep them apart.
func TestSpoiledEnvironment(t *testing.T) {
	t.Parallel()
	for _, rung := range []string{runtime.MountRoot, runtime.MountUserNS, runtime.MountNone} {
		t.Run(rung, func(t *testing.T) {
			t.Parallel()
			n := harness.New(t)
			if rung == runtime.MountUserNS && os.Geteuid() == 0 { // root has no need of it
				n.User = 65534
			}
			n.SpawnAgent("--mount-ns", rung)
			n.WaitAgentOr(func() bool { _, _, code := n.Run("get", "node"); return code == 0 })
			if !n.AgentRuns() {
				if strings.Contains(n.AgentLog(), "cannot give tasks a view of their own by "+rung) {
					t.Skipf("this host has no mount namespaces by %s", rung)
				}
				t.Fatalf("the agent ended:\n%s", n.AgentLog())
			}
			n.Apply(node(oneWorker))
			list := []string{"six==1.17.0"}
			first := n.Submit(harness.Script{Name: "spoils", Pip: list, Code: place + spoils})
			n.WaitStatus(first, clearml.StatusCompleted)
			n.WantConsole(t, first, "did rewrite")
			n.WantConsole(t, first, "did delete")
			for _, name := range []string{"second", "third"} {
				next := n.Submit(harness.Script{Name: name, Pip: list, Code: place + hashes})
				n.WaitStatus(next, clearml.StatusCompleted)
				if status := n.TaskStatus(next); status.MountNS != rung {
					t.Errorf("the task had the rung %q", status.MountNS)
				}
				n.WantConsole(t, next, "environment "+built(t, n, next))
			}
			if rung == runtime.MountNone {
				afterAPowerCut(t, n, "--mount-ns", rung)
			}
		})
	}
}

// afterAPowerCut checks that an agent which ends in order leaves no doubt of its
// environments, and that one which the machine took with it has the next one check them.
func afterAPowerCut(t *testing.T, n *harness.Node, flags ...string) {
	t.Helper()
	mark := filepath.Join(n.State, "envs", ".boot")
	n.StopAgent()
	if text, err := os.ReadFile(mark); err != nil || string(text) != "closed\n" {
		t.Errorf("after the agent's end the mark is %q, %v", text, err)
	}
	n.StartAgent(flags...)
	if strings.Contains(n.AgentLog(), "checked environments") {
		t.Error("environments were checked without need")
	}
	n.KillAgent()
	if err := os.WriteFile(mark, []byte("another uptime\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.StartAgent(flags...)
	harness.Eventually(t, harness.Patience, "the environments to be checked", func() string {
		if log := n.AgentLog(); !strings.Contains(log, `"checked environments after an unclean start" whole=1 removed=0`) {
			return log
		}
		return ""
	})
}

var environmentLine = regexp.MustCompile(`^environment ([0-9a-f]{32}) `)

// built is what the task would say of its environment if it is as it was built.
func built(t *testing.T, n *harness.Node, task string) string {
	t.Helper()
	key := ""
	for _, line := range n.Console(task) {
		if m := environmentLine.FindStringSubmatch(line); m != nil {
			key = m[1]
		}
	}
	data, err := os.ReadFile(filepath.Join(n.State, "envs", key+".manifest"))
	if err != nil {
		t.Fatalf("no manifest: %v, console %q", err, n.Console(task))
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 7) // kind mode size mtime ctime digest target-and-path
		if len(words) < 7 || words[0] != "f" && words[0] != "l" {
			continue
		}
		target, err := strconv.QuotedPrefix(words[6])
		if err != nil {
			t.Fatal(err)
		}
		path, err := strconv.Unquote(strings.TrimSpace(words[6][len(target):]))
		if err != nil {
			t.Fatal(err)
		}
		target, _ = strconv.Unquote(target)
		if words[0] == "l" {
			lines = append(lines, path+" -> "+target)
		} else {
			lines = append(lines, path+" "+words[1]+" "+words[5])
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("%s %x %d 1.17.0", key, sha256.Sum256([]byte(strings.Join(lines, "\n"))), len(lines))
}
