package migrate

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/samber/lo"
)

var update = flag.Bool("update", false, "rewrite what is generated")

// page is docs/migrating.md: prose, and the table.
var page = filepath.Join("..", "docs", "migrating.md")

func TestPageIsCurrent(t *testing.T) {
	want := render()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/migrating.md is not what the table says; run just golden (-want +got):\n%s", diff)
	}
}

// A behaviour is claimed only where a test shows it.
func TestBehavioursAreShown(t *testing.T) {
	for _, r := range Rows() {
		if r.Kind != KindBehaviour {
			continue
		}
		dir, name, _ := strings.Cut(r.Test, " ")
		files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		form := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
		shown := lo.SomeBy(files, func(f string) bool {
			data, err := os.ReadFile(f)
			return err == nil && form.Match(data)
		})
		if !shown {
			t.Errorf("%s: there is no test %s", r.Name, r.Test)
		}
	}
}

func TestRowsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rows() {
		id := string(r.Kind) + " " + r.Name
		switch {
		case seen[id]:
			t.Errorf("%s is there twice", id)
		case r.Why == "" && r.Verdict != Mapped && r.Verdict != Same:
			t.Errorf("%s has no reason", id)
		case r.Verdict == Mapped && r.Target == "":
			t.Errorf("%s has no target", id)
		case r.Why != "" && !strings.HasSuffix(r.Why, "."):
			t.Errorf("%s: its reason is no sentence", id)
		}
		seen[id] = true
		for _, target := range targets(r.Target) {
			if r.Kind == KindFlag && !isField(target) {
				t.Errorf("%s names %s, which is no field", id, target)
			}
		}
	}
}

func render() string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, part := range []struct {
		kind         Kind
		title, intro string
	}{
		{KindFlag, "Flags", flagIntro}, {KindKey, "Keys of clearml.conf", keyIntro},
		{KindVariable, "Variables", variableIntro}, {KindBehaviour, "Behaviours", behaviourIntro},
	} {
		b.WriteString("\n## " + part.title + "\n\n" + part.intro + "\n\n")
		b.WriteString("| clearml-agent 3.0.3 | here |\n|---|---|\n")
		for _, r := range Rows() {
			if r.Kind == part.kind && !strings.HasPrefix(r.Name, "=") {
				fmt.Fprintf(&b, "| %s | %s |\n", nameCell(r), hereCell(r))
			}
		}
	}
	return b.String()
}

func nameCell(r Row) string {
	switch {
	case r.Kind == KindBehaviour:
		return strings.ReplaceAll(r.Name, "|", "\\|")
	case r.deep:
		return "`" + r.Name + "`, with all in it"
	case len(r.older) > 0:
		return "`" + r.Name + "`, `" + strings.Join(r.older, "`, `") + "`"
	}
	return "`" + r.Name + "`"
}

func hereCell(r Row) string {
	why := strings.ReplaceAll(r.Why, "|", "\\|")
	switch r.Verdict {
	case Mapped:
		parts := lo.Map(strings.Split(r.Target, ", "), func(s string, _ int) string { return "`" + s + "`" })
		return strings.TrimSpace(strings.Join(parts, ", ") + ". " + why)
	case Same:
		return strings.TrimSpace("the same. " + why)
	case Otherwise:
		return why
	case NoOp:
		return "no effect: " + lower(why)
	}
	return "**not carried over**: " + lower(why)
}

// lower has a sentence go on after a colon.
func lower(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' || strings.HasPrefix(s, "A ") {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}
