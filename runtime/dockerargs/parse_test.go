package dockerargs

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kballard/go-shellquote"
	"github.com/samber/lo"
	"pgregory.net/rapid"
)

// forms are spellings that mean the same, each with what it means. Under the policy
// wide all is granted.
var forms = []struct {
	spellings []string
	want      Settings
}{
	{[]string{"-e A=b", "-eA=b", "-e=A=b", "--env A=b", "--env=A=b", `-e "A=b"`, `-e A="b"`, `'-e' 'A=b'`, `--env "A=b"`, `"--env=A=b"`, "-itdeA=b", "-e\tA=b\n", `-e A=\b`},
		Settings{Env: []Env{{Name: "A", Value: "b"}}}},
	{[]string{`-e 'A=b c'`, `-e A=b\ c`, `-e "A=b c"`, `--env="A=b c"`}, Settings{Env: []Env{{Name: "A", Value: "b c"}}}},
	{[]string{"-e A=", "--env=A=", `-e 'A='`}, Settings{Env: []Env{{Name: "A"}}}},
	{[]string{"-e A=b=c#d", "--env=A=b=c#d"}, Settings{Env: []Env{{Name: "A", Value: "b=c#d"}}}},
	{[]string{"-e A='$HOME' ", `-e 'A=$HOME'`, "-e A=$HOME"}, Settings{Env: []Env{{Name: "A", Value: "$HOME"}}}},
	{[]string{"-e HF_TOKEN", "--env=HF_TOKEN", "-eHF_TOKEN"}, Settings{Env: []Env{{Name: "HF_TOKEN", FromHost: true}}}},
	{[]string{"-e A=1 --env B=2 -e A=3"}, Settings{Env: []Env{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}, {Name: "A", Value: "3"}}}},
	{[]string{"-v /data/x:/x:ro", "-v/data/x:/x:ro", "-v=/data/x:/x:ro", "--volume /data/x:/x:ro", "--volume=/data//x/:/x/.:ro", "-v /data/x:/x", "-v /data/x:/x:ro,z",
		"--mount type=bind,source=/data/x,target=/x,readonly", "--mount type=bind,src=/data/x,dst=/x,ro", "--mount=type=bind,source=/data/x,destination=/x,readonly=true",
		"--mount type=bind,source=/data/x,target=/x,readonly,bind-propagation=rprivate", "-v /data/y:/x -v /data/x:/x"},
		Settings{Mounts: []Mount{{Source: "/data/x", Target: "/x", Folder: "/data", ReadOnly: true}}}},
	{[]string{"-v /data/out/a:/x", "-v /data/out/a:/x:rw", "--mount type=bind,source=/data/out/a,target=/x"},
		Settings{Mounts: []Mount{{Source: "/data/out/a", Target: "/x", Folder: "/data/out"}}}},
	{[]string{"-v /srv/models:/m:ro"}, Settings{Mounts: []Mount{{Source: "/srv/models", Target: "/m", Folder: "/srv/models", ReadOnly: true}}}},
	{[]string{"--tmpfs /s:size=1g", "--tmpfs=/s:rw,noexec,nosuid,size=1024m", "--mount type=tmpfs,target=/s,tmpfs-size=1073741824", "--mount type=tmpfs,dst=/s,tmpfs-size=1g"},
		Settings{Mounts: []Mount{{Target: "/s", Size: 1 << 30}}}},
	{[]string{"--tmpfs /s"}, Settings{Mounts: []Mount{{Target: "/s", Size: 4 << 30}}}},
	{[]string{"--tmpfs /s:exec,ro,mode=1770,size=4g", "--tmpfs /s:size=4g,mode=1770,ro,exec"}, Settings{Mounts: []Mount{{Target: "/s", Size: 4 << 30, Mode: 0o1770, Exec: true, ReadOnly: true}}}},
	{[]string{"--shm-size 8g", "--shm-size=8g", "--shm-size=8gb", "--shm-size=8GiB", "--shm-size=8192m", "--shm-size 8589934592", `--shm-size="8g"`, "--shm-size=1g --shm-size=8g"}, Settings{ShmSize: 8 << 30}},
	{[]string{"--shm-size 64m"}, Settings{ShmSize: 64 << 20}},
	{[]string{"--network none", "--network=none", "--net none", "--net=none", "--network name=none"}, Settings{Network: NetworkNone}},
	{[]string{"--network host", "--net=host"}, Settings{Network: NetworkHost}},
	{[]string{"--network bridge", "--net default"}, Settings{Network: NetworkPrivate}},
	{[]string{"--ipc host", "--ipc=host"}, Settings{HostIPC: true}},
	{[]string{"-h box", "-hbox", "--hostname box", "--hostname=box"}, Settings{Hostname: "box"}},
	{[]string{"--add-host a:10.0.0.1", "--add-host=a=10.0.0.1"}, Settings{Hosts: []Host{{"a", netip.MustParseAddr("10.0.0.1")}}}},
	{[]string{"--add-host a:::1", "--add-host a=[::1]"}, Settings{Hosts: []Host{{"a", netip.MustParseAddr("::1")}}}},
	{[]string{"--add-host h:host-gateway"}, Settings{Hosts: []Host{{"h", loopback}}}},
	{[]string{"--dns 10.0.0.53 --dns-search a.example --dns-option ndots:1", "--dns=10.0.0.53 --dns-search=a.example --dns-opt=ndots:1"},
		Settings{DNS: []netip.Addr{netip.MustParseAddr("10.0.0.53")}, DNSSearch: []string{"a.example"}, DNSOptions: []string{"ndots:1"}}},
	{[]string{"--ulimit memlock=-1 --ulimit stack=67108864", "--ulimit=memlock=-1:-1 --ulimit=stack=67108864:67108864"},
		Settings{Ulimits: []Ulimit{{"memlock", -1, -1}, {"stack", 67108864, 67108864}}}},
	{[]string{"--ulimit nofile=1024:65536"}, Settings{Ulimits: []Ulimit{{"nofile", 1024, 65536}}}},
	{[]string{"--cap-add SYS_PTRACE", "--cap-add=sys_ptrace", "--cap-add CAP_SYS_PTRACE"}, Settings{CapAdd: []string{"CAP_SYS_PTRACE"}}},
	{[]string{"--cap-add SYS_PTRACE --cap-drop ALL", "--cap-drop all --cap-add=SYS_PTRACE"}, Settings{CapAdd: []string{"CAP_SYS_PTRACE"}, CapDrop: []string{"ALL"}}},
	{[]string{"--cap-drop ALL", "--cap-drop=all"}, Settings{CapDrop: []string{"ALL"}}},
	{[]string{"--device /dev/kfd", "--device=/dev/kfd:/dev/kfd", "--device /dev/kfd:rwm", "--device /dev/kfd:/dev/kfd:rw"},
		Settings{Devices: []Device{{"/dev/kfd", "/dev/kfd", "rw"}}}},
	{[]string{"--device /dev/infiniband/uverbs0:/dev/ib:r"}, Settings{Devices: []Device{{"/dev/infiniband/uverbs0", "/dev/ib", "r"}}}},
	{[]string{"-m 8g", "-m8g", "--memory=8g", "--memory 8192m", "-m 64m -m 8g", "-m 8g -m 0"}, Settings{Memory: 8 << 30}},
	{[]string{"-m 8g --memory-swap 8g"}, Settings{Memory: 8 << 30, MemorySwap: 8 << 30}},
	{[]string{"--cpus 1.5", "--cpus=1.5", "--cpu-quota 150000", "--cpu-quota=75000 --cpu-period=50000", "--cpu-period=50000 --cpu-quota=75000"}, Settings{CPUs: 1.5}},
	{[]string{"--cpuset-cpus 0-3,8", "--cpuset-cpus=0-3,8"}, Settings{CPUSet: "0-3,8"}},
	{[]string{"-c 512", "-c512", "--cpu-shares=512"}, Settings{CPUShares: 512}},
	{[]string{"--blkio-weight 100"}, Settings{BlkioWeight: 100}},
	{[]string{"--pids-limit 100", "--pids-limit=100"}, Settings{PIDs: 100}},
	{[]string{"--oom-score-adj 500"}, Settings{OOMScoreAdj: 500}},
	{[]string{"-u 1000:1000", "-u1000:1000", "--user=1000:1000", "-u 0 -u 1000:1000"}, Settings{User: "1000:1000"}},
	{[]string{"--group-add video --group-add 44"}, Settings{Groups: []string{"video", "44"}}},
	{[]string{"-w /a/b", "-w/a/b", "--workdir=/a//b/"}, Settings{WorkingDir: "/a/b"}},
	{[]string{"--read-only", "--read-only=true"}, Settings{ReadOnlyRoot: true}},
	{[]string{"", "  \n ", "--rm", "-it", "-dit --rm", "-i -t -d", "-i=false", "--init", "--privileged=false", "--read-only=false", "--sig-proxy=false", "--name x", "--restart=always", "--label a=b -l c",
		"--gpus all", "--gpus=2", `--gpus '"device=0,1"'`, `--gpus "device=0"`, "--runtime=nvidia", "--security-opt no-new-privileges", "--ipc private --pid '' --uts '' --cgroupns=private",
		"--entrypoint ''", "--entrypoint=/bin/bash", "--log-driver none --log-opt max-size=1m", "--pull always", "--platform linux/amd64", "--platform linux", "--stop-signal INT --stop-timeout 5",
		"--health-cmd x --no-healthcheck", "-v /cache", "--expose 80", "--shm-size 0", "--memory 0", "--cpus 0", "-p 80:80", "-P", "--device nvidia.com/gpu=all", "-a stdout", "--memory-reservation 1g"},
		Settings{}},
}

// wide is open with all that has a key, in the network of the host.
func wide() Policy {
	p := open
	p.Network, p.Allow.HostIPC = NetworkHost, true
	return p
}

func granted(t interface{ Fatalf(string, ...any) }, text string, p Policy) Decision {
	requests, refused := Parse(text)
	d := Decide(requests, p)
	if refused = append(refused, d.Refused...); len(refused) > 0 {
		t.Fatalf("%s: %v", text, refused)
	}
	return d
}

// TestForms: however an option is spelled, it means the same.
func TestForms(t *testing.T) {
	for _, f := range forms {
		for _, text := range f.spellings {
			if diff := cmp.Diff(f.want, granted(t, text, wide()).Settings, addrs); diff != "" {
				t.Errorf("%s (-want +got)\n%s", text, diff)
			}
		}
	}
}

// A device that may neither be read nor written is no wish that can be granted.
func TestDeviceOfNoUse(t *testing.T) {
	if _, refused := Parse("--device /dev/kfd:m"); len(refused) != 1 || !strings.Contains(refused[0].String(), "neither reading nor writing") {
		t.Errorf("%v", refused)
	}
	if d := granted(t, "--device /dev/kfd:wmr", wide()).Settings.Devices; len(d) != 1 || d[0].Permissions != "rw" {
		t.Errorf("%+v", d)
	}
}

// TestOptions: each option of docker run is read, in its long and its short form, and
// an argument is named as it was written.
func TestOptions(t *testing.T) {
	for _, o := range options {
		for _, name := range o.names {
			text := "--" + name
			if len(name) == 1 {
				text = "-" + name
			}
			words := []string{text}
			if !o.flag {
				words = append(words, "a=b")
			}
			requests, refused := ParseWords(words)
			for _, r := range requests {
				if r.Option != text || !strings.HasPrefix(r.Argument, text) {
					t.Errorf("%v is called %q, %q", words, r.Option, r.Argument)
				}
			}
			for _, r := range refused {
				if !strings.HasPrefix(r.Argument, text) || r.Fault == "" || r.Fix == "" {
					t.Errorf("%v: %s", words, r)
				}
			}
		}
	}
}

// TestSecrets: what may be a secret is in no message.
func TestSecrets(t *testing.T) {
	for _, text := range []string{
		"-e A=hunter2", "--env=A=hunter2", "-e 'A B=hunter2'", "-e =hunter2", "-l a=hunter2", "--label-file hunter2", "--log-opt token=hunter2",
		"--health-cmd hunter2", "--entrypoint hunter2", "-e A= hunter2", "hunter2 -e A=b", "--annotation x=hunter2", "--name hunter2", "--sysctl a=hunter2",
		"--env-file hunter2", "-- hunter2", "--=hunter2", "--unknown=hunter2",
	} {
		requests, refused := Parse(text)
		d := Decide(requests, Policy{})
		if said := fmt.Sprint(refused, d.Refused, d.Notes, lo.Map(requests, func(r Request, _ int) string { return r.Argument })); strings.Contains(said, "hunter2") {
			t.Errorf("%s: %s", text, said)
		}
	}
}

// TestNotes: what has no effect is said where somebody may expect one.
func TestNotes(t *testing.T) {
	for text, want := range map[string]string{
		"-it --rm --init -d":      "",
		"--gpus all":              "--gpus=all: has no effect: the GPUs of a task are those of its worker, by spec.workers[].gpus",
		"-v /data/x:/x":           "-v /data/x:/x: may only be read: to write it, it has to be below a folder of spec.sandbox.allow.mountsWritable",
		"--entrypoint sh":         "--entrypoint: has no effect: a task is started by agentctl, not by an entry point",
		"-p 80:80":                "-p 80:80: has no effect: in the network of the host each port is the host's",
		"--restart on-failure:5":  "--restart: has no effect: whether a task runs again is up to its server",
		"--memory-reservation 1g": "--memory-reservation: has no effect: memory is limited as a whole",
	} {
		if got := strings.Join(granted(t, text, wide()).Notes, "\n"); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

// TestQuoting: words that are quoted come back as they were.
func TestQuoting(t *testing.T) {
	word := rapid.OneOf(rapid.String(), rapid.StringMatching(`[-#$'"\\ =a-z\n*~]{0,12}`)).Filter(func(s string) bool { return !strings.ContainsRune(s, 0) })
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(word, 0, 6).Draw(t, "words")
		got, refusal := Split(shellquote.Join(words...))
		if refusal != nil || len(got) != len(words) {
			t.Fatalf("%q became %q, %v", words, got, refusal)
		}
		for i := range words {
			if got[i] != words[i] {
				t.Fatalf("%q became %q", words, got)
			}
		}
	})
}

// TestTogether: what one argument means does not hang on the others beside it.
func TestTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var texts []string
		want := Settings{}
		for range rapid.IntRange(1, 5).Draw(t, "arguments") {
			f := rapid.SampledFrom(forms).Draw(t, "form")
			text := rapid.SampledFrom(f.spellings).Draw(t, "spelling")
			if strings.Contains(text, "cpu-quota") || strings.Contains(text, "cpu-period") {
				continue // of these two the last of all counts
			}
			texts, want = append(texts, text), add(want, f.want)
		}
		if diff := cmp.Diff(want, granted(t, strings.Join(texts, " "), wide()).Settings, addrs); diff != "" {
			t.Fatalf("%q (-want +got)\n%s", texts, diff)
		}
	})
}

// FuzzParse: no panic, each message on one printable line, and a policy that allows
// nothing gives no more than what concerns the task alone.
func FuzzParse(f *testing.F) {
	for _, form := range forms {
		for _, text := range form.spellings {
			f.Add(text)
		}
	}
	for _, text := range hostile(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		requests, refused := Parse(text)
		for _, p := range []Policy{{}, open} {
			d := Decide(requests, p)
			for _, r := range append(refused, d.Refused...) {
				if s := r.String(); strings.ContainsAny(s, "\n\x00\x1b") || r.Argument == "" || r.Fault == "" || r.Fix == "" {
					t.Fatalf("%q: %q", text, s)
				}
			}
			for _, m := range d.Settings.Mounts {
				if m.Source != "" && (!Within(m.Source, m.Folder) || strings.Contains(m.Source, "..") && strings.Contains(m.Source+"/", "/../")) || !isTarget(m.Target) {
					t.Fatalf("%q mounts %+v", text, m)
				}
			}
			if s := d.Settings; s.HostIPC || s.Memory < 0 || s.CPUs < 0 || s.PIDs < 0 || s.ShmSize < 0 {
				t.Fatalf("%q gives %+v", text, s)
			}
		}
		if s := Decide(requests, Policy{}).Settings; len(s.Env)+len(s.Mounts)+len(s.Devices)+len(s.CapAdd)+len(s.Ulimits)+len(s.Groups) > 0 || s.ShmSize > 0 || s.Network != "" || s.User != "" {
			t.Fatalf("%q is given %+v by a policy that allows nothing", text, s)
		}
	})
}
