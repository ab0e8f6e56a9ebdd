package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// playEnv names what a child of these tests does before it is killed.
const playEnv = "AGENTCTL_SOURCE_TEST_PLAY"

// play changes a store in the way that script names.
func play(script, dir string) error {
	m, err := Open(dir, Options{Keep: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	switch script {
	case "pin":
		_, err = m.Pin("-", text("new"), true)
	case "file":
		_, err = m.SetFile(filepath.Join(dir, "node.yaml"), nil, true)
	case "suspend":
		_, err = m.Suspend("me", "why")
	case "rollback":
		_, err = m.Rollback(1, Order{By: "me"})
	case "try":
		_, err = m.ApplyText("-", text("new"), Order{Try: time.Hour, Resume: true})
	case "folder":
		_, err = m.SetFile(filepath.Join(dir, "nodes"), nil, true)
	case "git":
		_, err = m.SetGit(context.Background(), Git{URL: filepath.Join(dir, "repo.git"), Path: "node.yaml"}, "", true)
	case "accept":
		_, err = m.Accept(Accepted{Seq: 1, Text: text("new"), Time: time.Now()})
	case "contribute":
		w := wanted("box:0", "a")
		w.Abandoned = func(Contribution) bool { return true } // of the one that was killed
		_, _, err = m.Contribute(w)
	case "withdraw":
		_, _, err = m.Withdraw("box:1", "me")
	case "finish":
		err = m.Finish(2, "converged", time.Now())
	default:
		err = fmt.Errorf("no script %s", script)
	}
	return err
}

// state tells in a line what an agent would start with.
func state(t *testing.T, dir string) string {
	t.Helper()
	m, err := Open(dir, Options{Keep: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("cannot be opened any more: %v", err)
	}
	r, good, ok := m.LastGood()
	if !ok {
		t.Fatal("no last good spec any more")
	}
	history, err := m.History()
	must(t, err)
	for _, h := range history {
		if _, err := m.Text(h.Number); err != nil {
			t.Error(err)
		}
	}
	out := fmt.Sprintf("%s %s, good %d %s %s", m.Current(), word(m.text), r.Number, word(good), r.Result)
	if s := m.Current().Suspended; s != nil {
		out += ", " + s.Reason
		if s.Held != nil {
			out += " " + word(s.Held.Text)
		}
	}
	for _, c := range m.Contributions() {
		out += ", " + c.ID
	}
	return out
}

// A kill at each named step leaves the old state or the new one, whole, and the
// same order again gives the new one.
func TestKilledAtEachPoint(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "crashing")
	if out, err := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("cannot build with crash points: %v\n%s", err, out)
	}
	scripts := map[string][]string{
		"pin":    {"source.pin", "source.pinned", "source.record", "source.recorded"},
		"file":   {"source.record", "source.recorded"},
		"folder": {"source.record", "source.recorded"},
		"git":    {"source.git.fetched", "source.git.stored", "source.record", "source.recorded", "source.drop"},
		"accept": {"source.accept", "source.text", "source.accepted", "source.prune"},
		"finish": {"source.finish"},

		"contribute": {"source.contribute", "source.contributed"},
		"withdraw":   {"source.withdraw", "source.withdrawn"},
		"suspend":    {"source.record", "source.recorded"},
		"rollback":   {"source.hold", "source.record", "source.recorded"},
		"try":        {"source.hold", "source.record", "source.recorded"},
	}
	var tested []string
	for script, points := range scripts {
		tested = append(tested, points...)
		for _, point := range points {
			t.Run(script+" "+point, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				accepted(t, dir, Options{Keep: 2}, "one", "old")
				put(t, filepath.Join(dir, "node.yaml"), string(text("new")))
				put(t, filepath.Join(dir, "nodes", "node.yaml"), string(text("new")))
				if script == "git" {
					newGitRepo(t, filepath.Join(dir, "repo.git")).commit("new", "node.yaml", string(text("new")))
				}
				if script != "accept" && script != "finish" { // the text of "one" is what these are about
					_, _, err := open(t, dir).Contribute(wanted("box:1", "b"))
					must(t, err)
				}
				before := state(t, dir)
				killed(t, bin, script, point, dir)
				got := state(t, dir)
				must(t, play(script, dir))
				after := state(t, dir)
				if script == "accept" { // the number tells how often
					got, after = strings.ReplaceAll(got, "good 4", "good 3"), strings.ReplaceAll(after, "good 4", "good 3")
				}
				if got != before && got != after {
					t.Errorf("killed at %s: %s\nold: %s\nnew: %s", point, got, before, after)
				}
				if after == before {
					t.Errorf("the order did nothing: %s", after)
				}
				for path := range tree(t, dir) {
					if strings.Contains(path, ".tmp-") {
						t.Errorf("left over: %s", path)
					}
				}
			})
		}
	}
	slices.Sort(tested)
	if points := crashPoints(t); !slices.Equal(points, slices.Compact(tested)) {
		t.Errorf("points %v, tested %v", points, tested)
	}
}

func killed(t *testing.T, bin, script, point, dir string) {
	t.Helper()
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), playEnv+"="+script, playEnv+"_DIR="+dir, "AGENTCTL_CRASH_AT="+point)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("not killed at %s: %v\n%s", point, err, out)
	}
}

// crashPoints are the names that the package's own code has.
func crashPoints(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	must(t, err)
	var found []string
	for _, file := range files {
		code, err := os.ReadFile(file)
		must(t, err)
		for _, m := range regexp.MustCompile(`crash\.Point\("([^"]+)"\)`).FindAllSubmatch(code, -1) {
			found = append(found, string(m[1]))
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
