package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"agentctl/envcache"
	"agentctl/migrate"
	"agentctl/spec"

	"github.com/samber/lo"
)

// goldens are the variations whose whole outcome is kept.
var goldens = []string{"01-minimal", "14-docker", "17-match-rules", "21-poetry", "26-private-indexes", "29-git-hosts", "33-proxy", "34-environment", "37-schedule"}

// secretIn finds what no node.yaml and no note may have in it: secrets of the variations
// end in their number.
var secretIn = regexp.MustCompile(`\b(SK|AK|tok|token|hf_|ghp_|pw|pa|pb|pat|aws|sec|s|AKIA)[0-9]{2}\b|pa(%40|@)ss26|pass 29|hf_`)

// Sites write clearml.conf in many ways. Each is carried over without a key of which
// nothing is said.
func TestConfigurationsOfSites(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "conf", "*.conf"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d variations, %v", len(files), err)
	}
	documents := lo.Map(files, func(f string, _ int) []envcache.HOCONPart { return []envcache.HOCONPart{{File: f}} })
	env := []string{"CLEARML_TEST_HOST=https://api.site.example.com", "CLEARML_TEST_KEY=AK03", "CLEARML_TEST_SECRET=SK03"}
	found, err := envcache.ReadHOCON(t.Context(), t.TempDir(), envcache.Options{}, env, documents)
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".conf")
		t.Run(name, func(t *testing.T) {
			if found[i].Error != nil {
				t.Fatal(found[i].Error)
			}
			res, err := migrate.Node(found[i].Value, nil, migrate.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range res.Notes {
				own := strings.HasPrefix(n.Name, "site.") || strings.HasPrefix(n.Name, "base.") // by which a site substitutes
				if n.Verdict == migrate.Unknown && !own {
					t.Errorf("nothing is known of %s", n.Name)
				}
				if found := secretIn.FindString(n.String()); found != "" {
					t.Errorf("a secret, %s, is in the note %s", found, n)
				}
			}
			text, err := res.YAML("clearml.conf")
			if err != nil {
				t.Fatal(err)
			}
			if found := secretIn.FindString(string(text)); found != "" {
				t.Errorf("a secret, %s, is in\n%s", found, text)
			}
			if _, problems := spec.Decode(name, text); problems.Err() != nil {
				t.Error(problems)
			}
			if slices.Contains(goldens, name) {
				golden(t, filepath.Join("conf", name+".yaml"), string(text))
			}
		})
	}
}
