package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// nodesOfExample are the node.yaml files of the example's ConfigMap.
func nodesOfExample(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), "examples", "kubernetes", "configmap.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Data map[string]string `yaml:"data"`
	}
	if err := yaml.Unmarshal(text, &m); err != nil || len(m.Data) < 2 {
		t.Fatalf("the ConfigMap holds %v, %v", m.Data, err)
	}
	return m.Data
}

// A ConfigMap is followed as the kubelet shows it, and changes as the kubelet changes it.
func TestConfigMap(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	dir := filepath.Join(n.Dir, "config")
	show := func(version string, nodes map[string]string) {
		t.Helper()
		real := filepath.Join(dir, "..v"+version)
		if err := os.MkdirAll(real, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range nodes {
			if err := os.WriteFile(filepath.Join(real, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			_ = os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)) // is there the second time
		}
		tmp := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink("..v"+version, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	workers := func(want int) {
		t.Helper()
		harness.Eventually(t, harness.Patience, fmt.Sprintf("%d workers", want), func() string {
			if got := len(n.Snapshot().Workers); got != want {
				return fmt.Sprintf("%d are there", got)
			}
			return ""
		})
	}
	nodes := nodesOfExample(t)
	show("1", nodes)
	for name := range nodes {
		n.Must("validate", filepath.Join(dir, name))
	}
	n.StartAgent("--watch", filepath.Join(dir, "services.yaml"))
	workers(10)
	nodes["services.yaml"] = strings.Replace(nodes["services.yaml"], "count: 10", "count: 3", 1)
	show("2", nodes)
	if err := os.RemoveAll(filepath.Join(dir, "..v1")); err != nil {
		t.Fatal(err)
	}
	workers(3)
}

// What a pod has from its machine no task sees, in neither mode, but for its own; and the
// node tells how the machine calls its state.
func TestHostMount(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.Env = []string{"CLEARML_AGENT_K8S_HOST_MOUNT=/mnt/host/data:" + n.Dir}
	if err := os.WriteFile(filepath.Join(n.Dir, "canary"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	n.StartAgent()
	n.Apply(node("{name: box, queues: [box], mode: sandbox, image: host}", "{name: venv, queues: [venv], mode: venv}"))
	if out := n.Must("describe", "node"); !strings.Contains(out, "/mnt/host/data/state") {
		t.Errorf("the node says %s", out)
	}
	for _, queue := range []string{"venv", "box"} {
		task := n.Submit(harness.Script{Queue: queue, Pip: []string{"six==1.17.0"}, Code: fmt.Sprintf(`import os, six
print("canary", os.path.exists(%q), "others", [d for d in os.listdir(%q) if d != "state"], "home", os.access(os.environ["HOME"], os.W_OK))
`, filepath.Join(n.Dir, "canary"), n.Dir)})
		n.WaitStatusFor(3*harness.Patience, task, clearml.StatusCompleted)
		n.WantConsole(t, task, "canary False others [] home True")
	}
}
