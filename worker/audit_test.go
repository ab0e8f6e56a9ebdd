package worker

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/spec"
)

// audited is what an audit says, a line each, those with a risk marked.
func audited(list []Reach) string {
	var b strings.Builder
	for _, r := range list {
		mark := " "
		if r.Risk {
			mark = "!"
		}
		fmt.Fprintf(&b, "%s %s: %s (%s)\n", mark, r.What, r.Text, r.Key)
	}
	return b.String()
}

func workerOf(t *testing.T, text string) spec.Worker {
	t.Helper()
	n, problems := spec.Decode("node.yaml", []byte("apiVersion: agentctl/v1\nkind: Node\nmetadata: {name: n}\nspec:\n"+text))
	if n == nil {
		t.Fatal(problems)
	}
	return spec.Expand(n.Default(spec.Env{Hostname: "n"}))[0]
}

// Each setting by which a task reaches more is told, and marked.
func TestAudit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, as the tests of sandboxes do")
	}
	const box = "  workers: [{name: w, queues: [q], mode: sandbox, image: docker.io/library/debian:12, resources: {memory: 1Gi, cpus: 2, pids: 100}}]\n"
	for _, c := range []struct {
		what, spec string
		want       []string
		never      []string
	}{
		{"a sandbox as it is by default", box, []string{
			"  user: the image's user inside, which is an id of ", "  capabilities: none; ", "  memory: 1.0GiB (resources.memory)",
			"! network: that of the host", "metadata addresses of clouds are refused", "  namespaces: user, pid, mount, uts, cgroup, ipc of its own", "! disk: no limit", "  preparation: packages are built inside its image",
			"  server: its own task, by a token for this task alone",
		}, []string{"mount:", "which this host can't hold"}},
		{"one without a network", box + "  sandbox: {network: none}\n", []string{"  network: none but its own loopback", "cgroup, ipc, network of its own", "! network of builds: host"}, []string{"! network: "}},
		{"one with a private one", box + "  sandbox: {network: private, hostPorts: [5432]}\n", []string{"  network: a network of its own", "! host's services: TCP 5432"}, nil},
		{"metadata are open", box + "  sandbox: {network: private, metadata: true}\n", []string{"! network: a network of its own", "metadata addresses of clouds as well"}, nil},
		{"what the node gives", box + "  sandbox: {arguments: {mounts: [{source: /data}, {source: /scratch, writable: true}], devices: [/dev/kfd], capAdd: [SYS_PTRACE], ipc: host}}\n", []string{
			"  mount: /data of the host as /data, read-only", "! mount: /scratch of the host as /scratch, writable", "! devices: /dev/kfd", "! capabilities: CAP_SYS_PTRACE", "! shared memory: the host's",
		}, nil},
		{"what a task may ask for", box + "  sandbox: {allow: {mounts: [/data], devices: [/dev/infiniband], images: []}}\n", []string{
			"! may ask for: folders of the host, to be read: /data (sandbox.allow.mounts)", "! may ask for: devices /dev/infiniband",
		}, []string{"any image"}},
		{"more that it may ask for", box + "  sandbox: {allow: {user: true, tmpfs: 1Gi, ulimits: [memlock], shmSize: 8Gi, images: [docker.io/library/*, host]}, onDenied: drop}\n", []string{
			"  may ask for: another user", "  may ask for: folders in memory, up to 1.0GiB each", "  may ask for: higher limits of memlock", "  may ask for: up to 8.0GiB of shared memory",
			"! may ask for: images docker.io/library/*, host", "  may ask for: all else, which is dropped",
		}, nil},
		{"limits of each process and of devices", "  workers: [{name: w, queues: [q], mode: sandbox, resources: {ioWeight: 200}}]\n  sandbox: {ulimits: {nofile: 1024}}\n", []string{
			"! input and output: weight 200, which this host can't hold", "  limit of each process: nofile 1024 to 1024", "  user: root inside",
		}, nil},
		{"rules", box + "  sandbox: {rules: [{match: {user: x}, arguments: {mounts: [{source: /data}]}}, {match: {user: y}, image: host, arguments: {devices: [/dev/kfd], hostEnv: [TOKEN]}}]}\n", []string{
			"  by a rule: /data of the host, to be read (sandbox.rules[0])", "! by a rule: devices /dev/kfd; variables of the agent: TOKEN; the image host (sandbox.rules[1])",
		}, nil},
		{"the host as an image", "  workers: [{name: w, queues: [q], mode: sandbox, image: host}]\n", []string{"! image: the host's own files", "! memory: no limit"}, nil},
		{"a process of the host", "  workers: [{name: w, queues: [q], mode: venv, runAs: nobody}]\n", []string{"  user: nobody of the host", "! files: what nobody may", "! limits: none", "packages are built as nobody"}, nil},
		{"one of root", "  workers: [{name: w, queues: [q], mode: venv, runAs: root}]\n", []string{"! user: root of the host, which is the agent's own", "! capabilities: all"}, nil},
		{"a server of others", "  server: {url: https://api.example.com}\n" + box, []string{"! server: all that the user of"}, nil},
	} {
		p := poolWith(t, t.TempDir())
		p.cfg.Host = runtime.Host{Sandbox: []runtime.Rung{{Name: runtime.SandboxMemory, Works: true}, {Name: runtime.SandboxCPU, Works: true}, {Name: runtime.SandboxPIDs, Works: true}}}
		p.node = &spec.Node{}
		if strings.Contains(c.spec, "url:") {
			p.node.Spec.Server.URL = "https://api.example.com"
		}
		list, err := p.Audit(workerOf(t, c.spec))
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		got := audited(list)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in\n%s", c.what, want, got)
			}
		}
		for _, never := range c.never {
			if strings.Contains(got, never) {
				t.Errorf("%s: %q is in\n%s", c.what, never, got)
			}
		}
	}
}

// What the host can't do is told as such, and a disk limit that holds as one.
func TestAuditOfWhatTheHostLacks(t *testing.T) {
	why := errors.New("it is so")
	all := abilities{why, why, why, why}
	const size = "  sandbox: {network: %s, scratch: {size: 5Gi}}\n  workers: [{name: w, queues: [q], mode: sandbox, image: docker.io/library/debian:12}]\n"
	for _, c := range []struct {
		network string
		lacks   abilities
		want    []string
	}{
		{"host", all, []string{"metadata addresses of clouds as well: ", "! abstract sockets: those of the host: it is so", "! disk: 5.0GiB, which this host can't hold on the disk: it is so"}},
		{"private", all, []string{"! network: tasks fail: it is so"}},
		{"host", abilities{}, []string{"  abstract sockets: its own alone", "  disk: 5.0GiB, over the image in disk"}},
	} {
		p := poolWith(t, t.TempDir())
		p.cfg.Host = runtime.Host{Sandbox: []runtime.Rung{{Name: runtime.SandboxWorks, Reason: "no namespaces"}}}
		list, err := p.auditOn(c.lacks, workerOf(t, fmt.Sprintf(size, c.network)), &clearml.Task{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range append(c.want, "! sandbox: tasks fail, since this host has none: no namespaces") {
			if got := audited(list); !strings.Contains(got, want) {
				t.Errorf("%q is not in\n%s", want, got)
			}
		}
	}
}

// Limits that the host can't hold are told; a task's own wishes count for it.
func TestAuditOfATask(t *testing.T) {
	p := poolWith(t, t.TempDir())
	w := workerOf(t, "  workers: [{name: w, queues: [q], mode: sandbox, image: docker.io/library/debian:12, resources: {memory: 1Gi}}]\n  sandbox: {allow: {mounts: [/usr]}}\n")
	task := &clearml.Task{}
	task.Container.Arguments = "-v /usr/share:/x:ro --network none"
	list, err := p.auditContainer(w, task, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"  mount: /usr/share of the host as /x, read-only", "  network: none but", "! memory: 1.0GiB, which this host can't hold"} {
		if got := audited(list); !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}
