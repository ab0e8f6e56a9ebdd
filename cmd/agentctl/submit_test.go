package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	shellquote "github.com/kballard/go-shellquote"
	"pgregory.net/rapid"

	"agentctl/clearml"
)

// An entry point is read by the shell's rules: what is sent must come out as the
// words that were typed.
func TestQuotedWordsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.String(), 1, 4).Draw(t, "words")
		for _, w := range words {
			if strings.ContainsRune(w, 0) { // no argument holds one
				t.Skip()
			}
		}
		got, err := shellquote.Split(strings.Join(quoted(words), " "))
		if err != nil || !slices.Equal(got, toValid(words)) {
			t.Errorf("%q came back as %q (%v)", words, got, err)
		}
	})
	for _, word := range []string{"", "a b", "it's", `"`, "#x", "$HOME", "a\nb", `\`, "-m", "ü"} {
		got, err := shellquote.Split("x " + quote(word))
		if err != nil || len(got) != 2 || got[1] != word {
			t.Errorf("%q came back as %q (%v)", word, got, err)
		}
	}
}

// A script is sent as it is, or not at all.
func TestOtherEncodingsAreNotSent(t *testing.T) {
	script := filepath.Join(t.TempDir(), "latin.py")
	for text, sent := range map[string]bool{"# -*- coding: latin-1 -*-\nprint('caf\xe9')\n": false, "print('café')\n": true} {
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := (&app{}).code(t.Context(), submitFlags{literal: true}, script, nil)
		if (err == nil) != sent || sent && c.script.Diff != text {
			t.Errorf("%q: %+v, %v", text, c.script, err)
		}
	}
}

func toValid(words []string) []string {
	var out []string
	for _, w := range words {
		out = append(out, strings.ToValidUTF8(w, "\ufffd"))
	}
	return out
}

func TestSplitArgs(t *testing.T) {
	for _, row := range []struct {
		about  string
		module string
		args   []string
		dash   int
		script string
		rest   []string
		fault  string
	}{
		{about: "a script", args: []string{"a.py"}, dash: -1, script: "a.py"},
		{about: "with arguments", args: []string{"a.py", "-x", "y"}, dash: 1, script: "a.py", rest: []string{"-x", "y"}},
		{about: "a module", module: "m", args: []string{"-x"}, dash: 0, rest: []string{"-x"}},
		{about: "nothing", dash: -1, fault: "name a script"},
		{about: "arguments without dashes", args: []string{"a.py", "y"}, dash: -1, fault: "behind --"},
		{about: "both", module: "m", args: []string{"a.py"}, dash: -1, fault: "name one"},
		{about: "only arguments", args: []string{"x"}, dash: 0, fault: "name a script"},
	} {
		script, rest, err := splitArgs(submitFlags{module: row.module}, row.args, row.dash)
		if row.fault != "" {
			if err == nil || !strings.Contains(err.Error(), row.fault) {
				t.Errorf("%s: %v", row.about, err)
			}
			continue
		}
		if err != nil || script != row.script || !slices.Equal(rest, row.rest) {
			t.Errorf("%s: %q, %q, %v", row.about, script, rest, err)
		}
	}
}

func TestTaskCode(t *testing.T) {
	m := &Main{Getenv: func(string) string { return "" }}
	a := &app{Main: m, socket: t.TempDir() + "/none"}
	for _, row := range []struct {
		status, reason string
		want           int
	}{
		{clearml.StatusCompleted, "", 0},
		{clearml.StatusPublished, "", 0},
		{clearml.StatusFailed, "worker execution exit code 7", 7},
		{clearml.StatusFailed, "worker execution ended by signal SIGKILL", 137},
		{clearml.StatusFailed, "worker execution exit code 999", 1},
		{clearml.StatusFailed, "cannot start the task", 1},
		{clearml.StatusStopped, "stopped by agentctl", 1},
	} {
		if got := a.taskCode(t.Context(), &clearml.Task{Status: row.status, StatusReason: row.reason}); got != row.want {
			t.Errorf("%s (%s): %d, want %d", row.status, row.reason, got, row.want)
		}
	}
}

func TestNamesHaveThreeCharacters(t *testing.T) {
	for in, want := range map[string]string{"a": "task a", "üü": "task üü", "abc": "abc"} {
		if got := nameOf("", in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
