package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/samber/lo"

	"agentctl/migrate"
)

// The flags of the daemon are those that the table of the migration tells of, with the
// same word.
func TestDaemonFlagsAreThoseOfTheTable(t *testing.T) {
	words := map[string]migrate.Verdict{flagSame: migrate.Mapped, flagOther: migrate.Mapped, flagNone: migrate.NoOp, flagDenied: migrate.Refused}
	want, got := map[string]migrate.Verdict{}, map[string]migrate.Verdict{}
	for _, r := range migrate.Rows() {
		if name, ok := strings.CutPrefix(r.Name, "daemon "); ok && r.Kind == migrate.KindFlag {
			want[name] = r.Verdict
		}
	}
	for _, f := range daemonFlags {
		if f.own {
			continue
		}
		if got[f.Names[0]] = words[f.Verdict]; f.Becomes == "" || f.Verdict != flagSame && f.Says == "" && f.Verdict == flagDenied {
			t.Errorf("%s does not say what it becomes", f.Names[0])
		}
	}
	want["--config-file"] = migrate.Mapped // stands before the command
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-table +flags)\n%s", diff)
	}
}

func TestClearmlArgs(t *testing.T) {
	for line, want := range map[string]string{
		"":                                       "help daemon",
		"-h":                                     "help daemon",
		"--version":                              "version",
		"daemon --queue a b":                     "daemon --queue a b",
		"--config-file x --debug daemon -d":      "--verbose daemon --config-file=x -d",
		"--config=x config":                      "config --config-file=x",
		"--config x daemon -d":                   "daemon --config-file=x -d",
		"-d list":                                "--verbose list",
		"--config-file daemon execute --id 3f2a": "execute --config-file=daemon --id 3f2a",
		"init":                                   "!clearml-agent init writes",
		"--nothing daemon":                       "!there is no flag --nothing",
		"install-bootstrap --check":              "!there is no bootstrap",
	} {
		got, err := clearmlArgs(strings.Fields(line))
		switch text := strings.Join(got, " "); {
		case err != nil && (!strings.HasPrefix(want, "!") || !strings.Contains(err.Error(), want[1:])):
			t.Errorf("%q: %v", line, err)
		case err == nil && text != want:
			t.Errorf("%q: %q, want %q", line, text, want)
		}
	}
}

func TestDevices(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "all": "", "NONE": "", "0": "0", "0,1": "0 1", "0-3": "0 1 2 3", "1,1": "1", "GPU-8a-1, 2": "GPU-8a-1 2",
		"0:1": "!", "0.5": "!", "0,": "!", "3-1": "3-1",
	} {
		got, err := devicesOf(text)
		if list := strings.Join(got, " "); err != nil != (want == "!") || err == nil && list != want {
			t.Errorf("%q: %q, %v", text, list, err)
		}
	}
}

// FuzzDaemonArgs: what argparse takes, cobra takes too in the form that it is brought
// to; what neither takes ends in an error, not in another command.
func FuzzDaemonArgs(f *testing.F) {
	f.Add("--queue a b --docker|img -v a:b|-OO --services-mode --stop")
	f.Add("--git-pass=x --log-level debug --uptime|17-20 TUE|--state /x -q")
	f.Add("--gpus 0-3 --dynamic-gpus --queue a=1-2 b=0.5")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.FieldsFunc(line, func(r rune) bool { return r == '|' || r == ' ' })
		if lo.ContainsBy(args, func(a string) bool { return strings.HasPrefix(a, "@") }) {
			t.Skip("names a file")
		}
		m := &Main{Stdout: io.Discard, Stderr: io.Discard, Getenv: func(string) string { return "" }}
		root := m.root()
		out, err := m.adapted(root, append([]string{"daemon"}, args...))
		if err != nil {
			return
		}
		if len(out) == 0 || out[0] != "daemon" {
			t.Fatalf("became %q", out)
		}
		cmd, rest, err := root.Find(out)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.ParseFlags(rest); err != nil {
			if !strings.Contains(err.Error(), "help requested") {
				t.Fatalf("%q: %v", out, err)
			}
			return
		}
		if left := cmd.Flags().Args(); len(left) > 0 {
			t.Fatalf("%q leaves %q", out, left)
		}
		if d, err := (&app{Main: m}).daemonOf(cmd.Flags()); err == nil && d.gitPass != "" && len(d.gitPass) > 6 && strings.Contains(d.command, d.gitPass) {
			t.Errorf("the password is in %q", d.command)
		}
	})
}
