package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/samber/lo"
)

// unit reads the settings of an example; one that is given twice keeps the last.
func unit(t *testing.T, name string) (text string, settings map[string]string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", "systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	settings = map[string]string{}
	for l := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(l), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = value
		}
	}
	return string(data), settings
}

// What a unit starts is a command line of ours, and a task survives its agent.
func TestUnitsStartTheAgent(t *testing.T) {
	for _, name := range []string{"agentctl.service", "agentctl-user.service"} {
		_, s := unit(t, name)
		args := strings.Fields(s["ExecStart"])
		if filepath.Base(args[0]) != "agentctl" {
			t.Errorf("%s starts %s", name, args[0])
		}
		m := &Main{Getenv: func(string) string { return "" }}
		verb, rest, err := m.root().Find(args[1:])
		if err != nil || verb.Name() != "agent" {
			t.Fatalf("%s: %v", name, err)
		}
		if err := verb.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for key, want := range map[string]string{
			"Type": "notify", "KillMode": "process", "Delegate": "yes", "Restart": "always", "OOMPolicy": "continue",
			"ExecReload": "/bin/kill -HUP $MAINPID", "RestartPreventExitStatus": "2",
		} {
			if s[key] != want {
				t.Errorf("%s: %s=%s, want %s", name, key, s[key], want)
			}
		}
		for _, key := range []string{
			"PrivateTmp", "PrivateDevices", "ProtectClock", "ProtectControlGroups", "OOMScoreAdjust",
			"ProtectKernelTunables", "ProtectKernelLogs", "ProtectHostname", "RestrictSUIDSGID", // sandboxes can't be made with them
		} {
			if _, set := s[key]; set {
				t.Errorf("%s sets %s, which hurts tasks", name, key)
			}
		}
	}
}

// With the capabilities that the unit leaves, sandboxes and their networks can be had as
// without it.
func TestUnitAllowsSandboxes(t *testing.T) {
	if _, err := exec.LookPath("setpriv"); err != nil || os.Geteuid() != 0 {
		t.Log("only root can take capabilities away, by setpriv: what the unit leaves was not tried")
		return
	}
	text, _ := unit(t, "agentctl.service")
	left := "-all"
	for l := range strings.Lines(text) {
		if list, ok := strings.CutPrefix(l, "CapabilityBoundingSet="); ok {
			for _, c := range strings.Fields(list) {
				left += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
			}
		}
	}
	state := filepath.Join(t.TempDir(), "state")
	found := func(before ...string) map[string]check {
		args := append(before, "agentctl", "--state", state, "--socket", state+".sock", "doctor", "-o", "json")
		out, err := exec.Command(args[0], args[1:]...).Output()
		var all []check
		if e := json.Unmarshal(out, &all); e != nil {
			t.Fatalf("%v, %v: %s", err, e, out)
		}
		return lo.KeyBy(all, func(c check) string { return c.Name })
	}
	with, without := found("setpriv", "--no-new-privs", "--bounding-set="+left, "--inh-caps=-all"), found()
	for _, name := range []string{"containment", "sandboxes", "private networks", "metadata addresses"} {
		if with[name].Verdict != without[name].Verdict || with[name].Verdict == "" {
			t.Errorf("%s: in the unit %+v, else %+v", name, with[name], without[name])
		}
	}
}

// systemd itself finds no fault, where there is one to ask.
func TestUnitsAreValid(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("there is no systemd-analyze: only our own look at the units was taken")
		return
	}
	for name, manager := range map[string]string{"agentctl.service": "--system", "agentctl-user.service": "--user"} {
		text, s := unit(t, name)
		program := strings.Fields(s["ExecStart"])[0]
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, program, "/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(analyze, manager, "--man=no", "verify", path)
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), filepath.Base(path)+":") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
