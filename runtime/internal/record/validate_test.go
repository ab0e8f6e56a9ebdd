package record

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func good() Config {
	return Config{
		ID: "a1-B_2", Dir: "/s/tasks/a", Args: []string{"/bin/true", "-x", ""}, Env: []string{"A=b=c", "B="}, Cwd: "/",
		UID: 65534, GID: 65534, Groups: []int{1, 2},
		Overlays: []Overlay{{Target: "/s/envs/1", Lower: "/s/envs/1", Upper: "/s/tasks/a/up"}, {Target: "/s/x", Lower: "/data"}},
		Hide:     []string{"/s"}, Keep: []string{"/s/tasks/a/home"}, Grace: time.Second, MaxRuntime: time.Hour,
		Containment: Cgroup2, MountNS: MountRoot,
	}
}

func TestValidate(t *testing.T) {
	c := good()
	if err := c.Validate(); err != nil {
		t.Errorf("a good config: %v", err)
	}
	for _, tt := range []struct {
		name, want string
		change     func(c *Config)
	}{
		{"newer", "version 2", func(c *Config) { c.Version = 2 }},
		{"no id", "id", func(c *Config) { c.ID = "" }},
		{"id leads out", "id", func(c *Config) { c.ID = "../../x" }},
		{"id is an option", "id", func(c *Config) { c.ID = "-x" }},
		{"long id", "id", func(c *Config) { c.ID = strings.Repeat("x", 101) }},
		{"relative dir", "dir", func(c *Config) { c.Dir = "tasks/a" }},
		{"unclean dir", "dir", func(c *Config) { c.Dir = "/s/../etc" }},
		{"NUL in dir", "dir", func(c *Config) { c.Dir = "/s\x00" }},
		{"no cwd", "cwd", func(c *Config) { c.Cwd = "" }},
		{"no command", "no command", func(c *Config) { c.Args = nil }},
		{"empty program", "absolute", func(c *Config) { c.Args = []string{""} }},
		{"relative program", "absolute", func(c *Config) { c.Args[0] = "python" }},
		{"NUL in argument", "argument 1 holds a NUL", func(c *Config) { c.Args[1] = "a\x00b" }},
		{"argument is not text", "argument 1 is not UTF-8", func(c *Config) { c.Args[1] = "\xff" }},
		{"long argument", "argument 2 is 131072 bytes", func(c *Config) { c.Args[2] = strings.Repeat("x", 128<<10) }},
		{"variable without name", "variable 0", func(c *Config) { c.Env[0] = "=x" }},
		{"variable without value", "variable 0", func(c *Config) { c.Env[0] = "x" }},
		{"NUL in variable", `variable "A" holds a NUL`, func(c *Config) { c.Env[0] = "A=secret\x00" }},
		{"user alone", "both", func(c *Config) { c.GID = -1 }},
		{"negative user", "not", func(c *Config) { c.UID, c.GID = -2, -2 }},
		{"user out of range", "4294967295", func(c *Config) { c.UID = 1<<32 - 1 }},
		{"negative group", "-1", func(c *Config) { c.Groups = []int{-1} }},
		{"relative target", "overlay target", func(c *Config) { c.Overlays[0].Target = "x" }},
		{"target is all", "must not be /", func(c *Config) { c.Overlays[0].Target = "/" }},
		{"target twice", "named", func(c *Config) { c.Overlays[1].Target = c.Overlays[0].Target }},
		{"target hidden", "named", func(c *Config) { c.Hide = []string{"/s/x"} }},
		{"upper in lower", "in each other", func(c *Config) { c.Overlays[0].Upper = "/s/envs/1/up" }},
		{"lower in upper", "in each other", func(c *Config) { c.Overlays[0].Upper = "/s" }},
		{"upper is lower", "in each other", func(c *Config) { c.Overlays[0].Upper = "/s/envs/1" }},
		{"hide all", "must not be /", func(c *Config) { c.Hide = []string{"/"} }},
		{"keep relative", "kept path", func(c *Config) { c.Keep = []string{"../x"} }},
		{"negative grace", "negative", func(c *Config) { c.Grace = -1 }},
		{"negative time", "negative", func(c *Config) { c.MaxRuntime = -1 }},
		{"unknown rung", "cgroup2, cgroup1", func(c *Config) { c.Containment = "docker" }},
		{"unknown view", "root, userns", func(c *Config) { c.MountNS = "x" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.change(&c)
			err := c.Validate()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to speak of %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("shows a value: %v", err)
			}
		})
	}
}

// What is accepted comes through the file unchanged.
func TestRunSurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := good()
		c.Args = append(c.Args, rapid.String().Draw(t, "arg"))
		c.Env = append(c.Env, "X="+rapid.String().Draw(t, "value"))
		c.Cwd = "/" + rapid.String().Draw(t, "cwd")
		if c.Validate() != nil {
			return
		}
		data, err := json.Marshal(Run{Config: c})
		if err != nil {
			t.Fatal(err)
		}
		var back Run
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if back.Args[3] != c.Args[3] || back.Env[2] != c.Env[2] || back.Cwd != c.Cwd {
			t.Fatalf("%+v became %+v", c, back.Config)
		}
	})
}

func TestExitFitsItsRoom(t *testing.T) {
	const room = 8 << 10
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"x", "\x00", "<", "ä", "\xff", "\n"}).Draw(t, "piece")
		e := Exit{Version: Version, Reason: Stopped, Message: strings.Repeat(piece, rapid.IntRange(0, 100_000).Draw(t, "n"))}
		data, err := e.Encode(room)
		if err != nil {
			t.Fatal(err)
		}
		var back Exit
		if err := json.Unmarshal(data, &back); err != nil || len(data) > room {
			t.Fatalf("%d bytes: %v", len(data), err)
		}
	})
}
