package main

import (
	"strings"
	"testing"

	"agentctl/migrate"

	"github.com/samber/lo"
)

func flagRows() map[string]migrate.Row {
	rows := lo.Filter(migrate.Rows(), func(r migrate.Row, _ int) bool { return r.Kind == migrate.KindFlag })
	return lo.KeyBy(rows, func(r migrate.Row) string { return r.Name })
}

// The flags that `daemon` takes are those that docs/migrating.md lists, and do what it says.
func TestDaemonFlagsAreInTheTable(t *testing.T) {
	verdicts := map[string]migrate.Verdict{flagSame: migrate.Mapped, flagOther: migrate.Mapped, flagNone: migrate.NoOp, flagDenied: migrate.Refused}
	known := map[string]bool{}
	for _, f := range daemonFlags {
		if f.own {
			continue
		}
		name := f.Names[0]
		known[name] = true
		row, ok := flagRows()["daemon "+name]
		if !ok {
			row, ok = flagRows()[name]
		}
		if !ok || row.Verdict != verdicts[f.Verdict] {
			t.Errorf("%s is %q to the command and %q in the table", name, f.Verdict, row.Verdict)
		}
	}
	for name := range flagRows() {
		if rest, ok := strings.CutPrefix(name, "daemon "); ok && !known[rest] {
			t.Errorf("the command does not take %s", rest)
		}
	}
}

// A verb or a flag of ours that the table names is there.
func TestFlagsOfTheTable(t *testing.T) {
	root := tree4docs()
	for name, row := range flagRows() {
		for target := range strings.SplitSeq(row.Target, ", ") {
			words := strings.Fields(target)
			if len(words) < 2 || words[0] != "agentctl" {
				continue
			}
			cmd, _, err := root.Find(words[1:2])
			if err != nil || cmd == root && !strings.HasPrefix(words[1], "--") {
				t.Errorf("%s: there is no %s", name, target)
				continue
			}
			for _, w := range words[1:] {
				if flag, ok := strings.CutPrefix(w, "--"); ok && cmd.Flag(flag) == nil && root.PersistentFlags().Lookup(flag) == nil {
					t.Errorf("%s: there is no %s", name, target)
				}
			}
		}
	}
}
