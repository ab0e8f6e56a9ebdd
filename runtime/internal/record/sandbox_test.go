package record

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"agentctl/runtime/internal/netns"
	"agentctl/runtime/internal/relay"
)

func goodBox() Config {
	adj := 100
	c := good()
	c.Containment, c.MountNS, c.UID, c.GID, c.Groups = "", "", 1000, 1000, []int{5}
	c.Sandbox = &Sandbox{
		Layers: []string{"/l/1", "/l/2"}, Upper: "/s/tasks/a/root", IDs: IDRange{100000, 65536}, Hostname: "node-1.x",
		ResolvConf: "/etc/resolv.conf", Hosts: "/etc/hosts",
		Mounts:  []Mount{{Source: "/data", Target: "/data", ReadOnly: true}, {Target: "/mem", Memory: true, Size: 1 << 20}},
		Devices: []Device{{Path: "/dev/nvidia0", Target: "/dev/gpu/0", Access: "rw"}}, ShmSize: 1 << 30, Ulimits: []Ulimit{{"nofile", 1024, 4096}, {"core", -1, -1}},
		Sysctls: map[string]string{"net.core.somaxconn": "1024"}, CapAdd: []string{"CAP_SYS_PTRACE"},
		Network:    Network{Mode: NetworkPrivate, Pool: &netns.Pool{Tag: "a"}, Servers: &relay.Plan{}},
		Resources:  Resources{Memory: 1 << 30, Swap: -1, CPUs: 1.5, CPUSet: "0-3,6", PIDs: 100, IOWeight: 500, IO: []IOLimit{{Device: "/dev/sda", ReadBPS: 1}}},
		StopSignal: "SIGINT", OOMScoreAdj: &adj,
	}
	return c
}

func TestValidateSandbox(t *testing.T) {
	c := goodBox()
	if err := c.Validate(); err != nil {
		t.Errorf("a good sandbox: %v", err)
	}
	big := 1001
	for _, tt := range []struct {
		name, want string
		change     func(c *Config, s *Sandbox)
	}{
		{"no image", "give layers, or host", func(_ *Config, s *Sandbox) { s.Layers = nil }},
		{"two images", "not both", func(_ *Config, s *Sandbox) { s.Host = true }},
		{"host with upper", "leave upper", func(_ *Config, s *Sandbox) { s.Host, s.Layers = true, nil }},
		{"too many layers", "overlayfs takes at most 499", func(_ *Config, s *Sandbox) { s.Layers = make([]string, 500) }},
		{"relative layer", "sandbox layer", func(_ *Config, s *Sandbox) { s.Layers[0] = "l/1" }},
		{"layer with a way out", "sandbox layer", func(_ *Config, s *Sandbox) { s.Layers[0] = "/l/../etc" }},
		{"no ids", "give a base", func(_ *Config, s *Sandbox) { s.IDs = IDRange{} }},
		{"root's ids", "give a base", func(_ *Config, s *Sandbox) { s.IDs.Base = 0 }},
		{"endless ids", "give a base", func(_ *Config, s *Sandbox) { s.IDs.Base = math.MaxUint32 }},
		{"user out of range", "beyond the range", func(c *Config, _ *Sandbox) { c.UID = 70000 }},
		{"group out of range", "beyond the range", func(c *Config, _ *Sandbox) { c.Groups = []int{65536} }},
		{"mount onto all", "sandbox's own", func(_ *Config, s *Sandbox) { s.Mounts[0].Target = "/" }},
		{"mount into proc", "sandbox's own", func(_ *Config, s *Sandbox) { s.Mounts[0].Target = "/proc/sys" }},
		{"mount onto dev", "sandbox's own", func(_ *Config, s *Sandbox) { s.Mounts[0].Target = "/dev" }},
		{"mount without source", "mount source", func(_ *Config, s *Sandbox) { s.Mounts[0].Source = "" }},
		{"mount twice", "named twice", func(_ *Config, s *Sandbox) { s.Mounts[1].Target = "/data" }},
		{"memory with source", "memory has no source", func(_ *Config, s *Sandbox) { s.Mounts[1].Source = "/x" }},
		{"size of a folder", "only memory", func(_ *Config, s *Sandbox) { s.Mounts[0].Size = 1 }},
		{"device outside of dev", "not lie in /dev", func(_ *Config, s *Sandbox) { s.Devices = []Device{{Path: "/etc/passwd", Access: "r"}} }},
		{"device shown outside of dev", "not lie in /dev", func(_ *Config, s *Sandbox) { s.Devices = []Device{{Path: "/dev/fuse", Target: "/etc/x", Access: "r"}} }},
		{"device in the place of another", "sandbox's own", func(_ *Config, s *Sandbox) {
			s.Devices = []Device{{Path: "/dev/fuse", Target: "/dev/null", Access: "r"}}
		}},
		{"device among terminals", "sandbox's own", func(_ *Config, s *Sandbox) {
			s.Devices = []Device{{Path: "/dev/fuse", Target: "/dev/pts/0", Access: "r"}}
		}},
		{"device of no use", "none of r, w, rw", func(_ *Config, s *Sandbox) { s.Devices = []Device{{Path: "/dev/fuse"}} }},
		{"two devices in one place", "named twice", func(_ *Config, s *Sandbox) {
			s.Devices = []Device{{Path: "/dev/fuse", Access: "r"}, {Path: "/dev/kvm", Target: "/dev/fuse", Access: "r"}}
		}},
		{"device that leads out", "clean", func(_ *Config, s *Sandbox) { s.Devices = []Device{{Path: "/dev/../etc/passwd", Access: "r"}} }},
		{"negative shm", "shm size", func(_ *Config, s *Sandbox) { s.ShmSize = -1 }},
		{"unknown ulimit", "none of core", func(_ *Config, s *Sandbox) { s.Ulimits[0].Name = "files" }},
		{"soft above hard", "soft is at most hard", func(_ *Config, s *Sandbox) { s.Ulimits[0].Soft = 5000 }},
		{"soft without limit", "soft is at most hard", func(_ *Config, s *Sandbox) { s.Ulimits[0].Soft = -1 }},
		{"sysctl with a way out", "sysctl", func(_ *Config, s *Sandbox) { s.Sysctls = map[string]string{"../x": "1"} }},
		{"sysctl with NUL", "not a text", func(_ *Config, s *Sandbox) { s.Sysctls = map[string]string{"a.b": "\x00"} }},
		{"capability in short", "CAP_SYS_PTRACE", func(_ *Config, s *Sandbox) { s.CapAdd = []string{"SYS_ADMIN"} }},
		{"no network", "none of host, none, private", func(_ *Config, s *Sandbox) { s.Network.Mode = "" }},
		{"private without pool", "pool of addresses", func(_ *Config, s *Sandbox) { s.Network.Pool = nil }},
		{"none with pool", "pool of addresses", func(_ *Config, s *Sandbox) { s.Network.Mode = NetworkNone }},
		{"host with servers", "reached directly", func(_ *Config, s *Sandbox) { s.Network.Mode = NetworkHost }},
		{"swap without memory", "needs a memory limit", func(_ *Config, s *Sandbox) { s.Resources.Memory = 0 }},
		{"swap below all", "swap", func(_ *Config, s *Sandbox) { s.Resources.Swap = -2 }},
		{"no CPU time", "0.01", func(_ *Config, s *Sandbox) { s.Resources.CPUs = 0.001 }},
		{"odd CPUs", "negative", func(_ *Config, s *Sandbox) { s.Resources.CPUs = math.NaN() }},
		{"CPU names", "as 0-3,6", func(_ *Config, s *Sandbox) { s.Resources.CPUSet = "all" }},
		{"io weight", "between 10 and 1000", func(_ *Config, s *Sandbox) { s.Resources.IOWeight = 5 }},
		{"oom score", "between -1000 and 1000", func(_ *Config, s *Sandbox) { s.OOMScoreAdj = &big }},
		{"host name", "host name", func(_ *Config, s *Sandbox) { s.Hostname = "a b" }},
		{"stop signal", "written as SIGINT", func(_ *Config, s *Sandbox) { s.StopSignal = "INT" }},
		{"containment", "its own containment", func(c *Config, _ *Sandbox) { c.Containment = Cgroup2 }},
		{"relative program", "absolute", func(c *Config, _ *Sandbox) { c.Args[0] = "./python" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := goodBox()
			tt.change(&c, c.Sandbox)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to speak of %q", err, tt.want)
			}
		})
	}
	c = goodBox()
	c.Args[0] = "python" // found by the sandbox's own PATH
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Args = nil
	if c.Validate() == nil || c.ValidateAhead() != nil {
		t.Errorf("without a command: %v, ahead %v", c.Validate(), c.ValidateAhead())
	}
	c.Sandbox = nil
	if c.ValidateAhead() == nil {
		t.Error("a plain run can be made ahead")
	}
}

func TestSandboxSurvivesJSON(t *testing.T) {
	c := goodBox()
	data, err := json.Marshal(Run{Config: c, Mapped: &Mapping{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	var back Run
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(*back.Sandbox, *c.Sandbox) {
		t.Errorf("%+v became %+v: %v", c.Sandbox, back.Sandbox, err)
	}
}

// Nothing that passes can name a path that leads elsewhere.
func FuzzValidateSandbox(f *testing.F) {
	c := goodBox()
	data, err := json.Marshal(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var c Config
		if json.Unmarshal(data, &c) != nil || c.Sandbox == nil || c.Validate() != nil {
			return
		}
		paths := slices.Clone(c.Sandbox.Layers)
		for _, d := range c.Sandbox.Devices {
			paths = append(paths, d.Path, d.At())
		}
		for _, path := range paths {
			if !strings.HasPrefix(path, "/") || strings.Contains(path, "/../") || strings.HasSuffix(path, "/..") {
				t.Errorf("%q passed", path)
			}
		}
	})
}
