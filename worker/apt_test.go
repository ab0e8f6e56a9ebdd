package worker

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/spec"
)

// A task has the packages of its worker, and of those that it asks for what it may.
func TestPackagesOfDebian(t *testing.T) {
	for name, tc := range map[string]struct {
		node, allow, asked []string
		want, refused      string
	}{
		"of the node":      {node: []string{"libgl1", "git"}, want: "git libgl1"},
		"asked for both":   {node: []string{"git"}, allow: []string{"ffmpeg"}, asked: []string{"ffmpeg", "git"}, want: "ffmpeg git"},
		"any":              {allow: []string{"*"}, asked: []string{"a1", "0ad"}, want: "0ad a1"},
		"none":             {asked: []string{"git"}, refused: "git"},
		"another":          {allow: []string{"git"}, asked: []string{"git", "git-lfs"}, want: "git", refused: "git-lfs"},
		"a name is a name": {allow: []string{"lib"}, asked: []string{"libgl1"}, refused: "libgl1"},
	} {
		var w spec.Worker
		w.Sandbox.AptPackages, w.Sandbox.Allow.AptPackages = tc.node, tc.allow
		got, refused := aptOf(tc.asked, w)
		if strings.Join(got, " ") != tc.want || (len(refused) > 0) != (tc.refused != "") || len(refused) > 0 && !strings.Contains(refused[0].Argument, " "+tc.refused) {
			t.Errorf("%s: %q, refused %v", name, got, refused)
		}
	}
}

// Names of packages reach apt's arguments: nothing that is an option, a file or a
// version is one.
func TestNamesOfPackagesOfDebian(t *testing.T) {
	for text, want := range map[string][]string{
		"libgl1": {"libgl1"}, "['libgl1', \"libstdc++6\"]": {"libgl1", "libstdc++6"}, "git,\n 0ad": {"git", "0ad"},
	} {
		params := map[string]map[string]clearml.Param{ChoiceSection: {ChoiceApt: {Value: clearml.Text(text)}}}
		c, err := choiceOf(&clearml.Task{Hyperparams: params})
		if err != nil || !slices.Equal([]string(c.apt), want) {
			t.Errorf("%q: %q, %v", text, c.apt, err)
		}
	}
	for _, text := range []string{
		"--reinstall", "-y", "./a.deb", "/tmp/a.deb", "git=1.0", "git/sid", "git-", "GIT", "a", "git;id", "$(id)", "git\x00id", strings.Repeat("a", 129),
		strings.Repeat("git ", mostApt+1),
	} {
		if _, err := aptNames(text); err == nil {
			t.Errorf("%.40q is taken", text)
		}
	}
}

func TestTail(t *testing.T) {
	var out tail
	for i := range 3000 {
		fmt.Fprintf(&out, "line %d\n", i)
	}
	if got := out.last(2); got != "    line 2998\n    line 2999" || out.Len() > longestTail {
		t.Errorf("%q of %d bytes", got, out.Len())
	}
	out.Reset()
	if _, err := out.Write([]byte(strings.Repeat("x", 3*longestTail))); err != nil || out.Len() != longestTail {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
}
