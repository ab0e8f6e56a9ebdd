package dockerargs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// keys are the arguments that need a key, what is said without it, and the policy
// with it.
var keys = []struct {
	text, refusal string
	allow         Allow
}{
	{"-e A=b", "-e A=…: variables are not allowed; set spec.sandbox.allow.env", Allow{Env: true}},
	{"-e A", "-e A: has no value, and the variables of the agent are not the task's; write NAME=VALUE, or add the name to spec.sandbox.allow.hostEnv", Allow{HostEnv: []string{"A"}}},
	{"-v /data/a:/x:ro", "-v /data/a:/x:ro: /data/a is not below a folder of spec.sandbox.allow.mounts; add /data/a to it", Allow{Mounts: []string{"/data"}}},
	{"-v /etc:/x", "-v /etc:/x: /etc is not below a folder of spec.sandbox.allow.mounts; add /etc to it", Allow{Mounts: []string{"/etc/"}}},
	{"--mount type=bind,source=/data,target=/x", "--mount=type=bind,source=/data,target=/x: /data is not below a folder of spec.sandbox.allow.mounts; add /data to it", Allow{MountsWritable: []string{"/data"}}},
	{"--tmpfs /x", "--tmpfs=/x: a tmpfs is not allowed; write the largest to spec.sandbox.allow.tmpfs", Allow{Tmpfs: 1}},
	{"--shm-size 2g", "--shm-size=2g: is more than 1GiB; ask for less, or raise spec.sandbox.allow.shmSize", Allow{ShmSize: 2 << 30}},
	{"--network host", "--network=host: the network host is not allowed; add host to spec.sandbox.allow.network", Allow{Network: []string{"host"}}},
	{"--ipc=host", "--ipc=host: the shared memory of the host is not allowed; write --shm-size for more of the task's own, or add host to spec.sandbox.allow.ipc", Allow{HostIPC: true}},
	{"--ulimit memlock=-1", "--ulimit=memlock=-1: the limit memlock is not the task's to set; add memlock to spec.sandbox.allow.ulimits", Allow{Ulimits: []string{"memlock"}}},
	{"--cap-add SYS_PTRACE", "--cap-add=SYS_PTRACE: the capability is not allowed; add SYS_PTRACE to spec.sandbox.allow.capAdd", Allow{CapAdd: []string{"CAP_SYS_PTRACE"}}},
	{"--device /dev/kfd", "--device=/dev/kfd: /dev/kfd is not allowed; add it to spec.sandbox.allow.devices", Allow{Devices: []string{"/dev/kfd"}}},
	{"--device /dev/dri/card0", "--device=/dev/dri/card0: /dev/dri/card0 is not allowed; add it to spec.sandbox.allow.devices", Allow{Devices: []string{"/dev/dri"}}},
	{"-u 1000", "-u 1000: another user is not allowed; set spec.sandbox.allow.user", Allow{User: true}},
	{"--group-add video", "--group-add=video: another user is not allowed; set spec.sandbox.allow.user", Allow{User: true}},
}

// TestKeys: a refusal names the key that allows the argument, and the key does.
func TestKeys(t *testing.T) {
	for _, k := range keys {
		p := Policy{Limits: Limits{ShmSize: 1 << 30}, Network: NetworkPrivate}
		requests, unread := Parse(k.text)
		d := Decide(requests, p)
		if len(unread) > 0 || len(d.Refused) != 1 || d.Refused[0].String() != k.refusal {
			t.Errorf("%s\n got %v %v\nwant %s", k.text, unread, d.Refused, k.refusal)
		}
		if diff := cmp.Diff(Settings{}, d.Settings, addrs); diff != "" {
			t.Errorf("%s is refused and gives\n%s", k.text, diff)
		}
		p.Allow = k.allow
		d = Decide(requests, p)
		if len(d.Refused) > 0 || cmp.Equal(Settings{}, d.Settings, addrs) {
			t.Errorf("%s with %+v: %v, %+v", k.text, k.allow, d.Refused, d.Settings)
		}
	}
}

// TestLess: a task may always have less than its worker gives, and never more.
func TestLess(t *testing.T) {
	p := Policy{
		Limits:  Limits{CPUs: 2, Memory: 4 << 30, PIDs: 100, ShmSize: 1 << 30, Weight: 200, Ulimits: []Ulimit{{"nofile", 1024, 4096}, {"core", Unlimited, Unlimited}}},
		Network: NetworkHost,
	}
	for _, text := range []string{
		"--cpus 2", "-m 4g", "--memory-swap 4g", "--pids-limit 100", "--shm-size 1g", "--blkio-weight 200", "--cpu-shares 1024", "--cpu-quota 200000",
		"--ulimit nofile=1024:4096", "--ulimit nofile=1:2", "--ulimit core=-1", "--ulimit core=0", "--network private", "--network none", "--oom-score-adj 1", "--cap-drop ALL", "--read-only",
	} {
		granted(t, text, p)
	}
	for _, text := range []string{
		"--cpus 2.01", "-m 4097m", "--memory-swap 5g", "--memory-swap -1", "--pids-limit 101", "--pids-limit -1", "--shm-size 1025m", "--blkio-weight 201", "--cpu-shares 1025", "--cpu-quota 200001",
		"--ulimit nofile=1025:4096", "--ulimit nofile=1024:4097", "--ulimit nofile=-1", "--ulimit stack=1",
	} {
		requests, refused := Parse(text)
		if d := Decide(requests, p); len(refused)+len(d.Refused) != 1 {
			t.Errorf("%s is granted: %+v", text, d.Settings)
		}
	}
	// Without a limit there is nothing to be above of.
	granted(t, "-m 1t --cpus 1000 --pids-limit -1 --memory-swap -1", Policy{})
}

// TestWithin: folders are compared by their components.
func TestWithin(t *testing.T) {
	for _, c := range []struct {
		path, folder string
		want         bool
	}{
		{"/data", "/data", true}, {"/data/x", "/data", true}, {"/data2", "/data", false}, {"/dat", "/data", false},
		{"/data", "/data/x", false}, {"/data", "/", true}, {"/datax/data", "/data", false},
	} {
		if got := Within(c.path, c.folder); got != c.want {
			t.Errorf("%s in %s: %v", c.path, c.folder, got)
		}
	}
}

// TestMounts: whatever is granted is in an allowed folder and no way to the host,
// also of paths that are made to look so.
func TestMounts(t *testing.T) {
	part := rapid.SampledFrom([]string{"data", "data2", "out", "..", ".", "", "var", "lib", "agentctl", "proc", "dev", "x.sock", "docker.sock", "run"})
	path := rapid.Map(rapid.SliceOfN(part, 0, 6), func(parts []string) string { return "/" + strings.Join(parts, "/") })
	p := open
	p.Allow.Mounts = []string{"/data", "/var/lib", "/"} // what a check of node.yaml may have let through
	rapid.Check(t, func(t *rapid.T) {
		source, target := path.Draw(t, "source"), path.Draw(t, "target")
		requests, _ := ParseWords([]string{"-v", source + ":" + target + rapid.SampledFrom([]string{"", ":ro", ":rw"}).Draw(t, "mode")})
		for _, m := range Decide(requests, p).Settings.Mounts {
			for _, place := range append(never, "/var/lib/agentctl") {
				if Within(m.Source, place) || Within(place, m.Source) {
					t.Fatalf("%s is mounted, which has or is in %s", m.Source, place)
				}
			}
			if strings.HasSuffix(m.Source, ".sock") || Within(m.Target, "/proc") || Within(m.Target, "/dev") || Within("/var/lib/agentctl", m.Target) {
				t.Fatalf("%+v", m)
			}
			if !m.ReadOnly && !Within(m.Source, "/data/out") && !Within(m.Source, "/scratch") {
				t.Fatalf("%+v may be written", m)
			}
		}
	})
}

// TestMerge: the task's settings count where both have one.
func TestMerge(t *testing.T) {
	node := Settings{
		Env: []Env{{Name: "A", Value: "1"}}, Mounts: []Mount{{Source: "/a", Target: "/x"}, {Source: "/b", Target: "/y"}},
		Memory: 8, CPUs: 2, Network: NetworkHost, Ulimits: []Ulimit{{"nofile", 1, 2}}, CapAdd: []string{"CAP_KILL", "CAP_SETUID"}, User: "root",
	}
	task := Settings{
		Env: []Env{{Name: "A", Value: "2"}}, Mounts: []Mount{{Source: "/c", Target: "/x", ReadOnly: true}},
		Memory: 4, Network: NetworkNone, Ulimits: []Ulimit{{"nofile", 1, 1}}, CapAdd: []string{"CAP_CHOWN"}, CapDrop: []string{"CAP_KILL"}, User: "1000",
	}
	want := Settings{
		Env: []Env{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}}, Mounts: []Mount{{Source: "/b", Target: "/y"}, {Source: "/c", Target: "/x", ReadOnly: true}},
		Memory: 4, CPUs: 2, Network: NetworkNone, Ulimits: []Ulimit{{"nofile", 1, 1}}, CapAdd: []string{"CAP_SETUID", "CAP_CHOWN"}, CapDrop: []string{"CAP_KILL"}, User: "1000",
	}
	if diff := cmp.Diff(want, Merge(node, task), addrs); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(node.Mounts) != 2 || node.Mounts[0].Source != "/a" {
		t.Errorf("the node's are changed: %+v", node)
	}
}
