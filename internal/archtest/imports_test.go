package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "agentctl"

// area is a folder with all below it and what of ours it may import.
type area struct {
	folder string
	may    []string // folders; "" is none of ours
	why    string
}

// areas, the deepest folder that fits counts. A package in none is a fault, so a
// new folder needs a line here, and a decision.
var areas = []area{
	{"internal", []string{"internal"}, "internal packages are leaves: they know nothing of agents, tasks or specs"},
	{"spec", nil, "spec is what an operator writes, as plain values: whoever reads it reads nothing else"},
	{"clearml", nil, "clearml is the protocol: agent and server both speak it, so it knows neither"},
	{"reconcile", []string{"spec"}, "planning is pure: it declares the interfaces it needs, and is tested without an OS"},
	{"source", []string{"spec", "internal"}, "a source delivers bytes that decode; who acts on them is not its concern"},
	{"server", []string{"clearml", "server", "internal"}, "the server serves any agent that speaks the protocol, so it knows none"},
	{"runtime", []string{"runtime", "internal"}, "a task's isolation is plain values: no spec, no ClearML, no environments"},
	{"runtime/gpu", []string{"runtime"}, "GPUs are plain values, of which others make slots"},
	{"runtime/shim", []string{"runtime", "internal"}, "the shim outlives the agent: it must not need anything of it"},
	{"envcache", []string{"envcache", "internal"}, "environments and checkouts know neither spec nor ClearML nor how a task is run"},
	{"worker", []string{"worker", "spec", "clearml", "reconcile", "runtime", "envcache", "internal"}, "a worker translates spec into the configs of runtime and envcache, and speaks to any server by the protocol"},
	{"migrate", []string{"spec", "runtime/dockerargs"}, "a translation is pure: it gets what was read, and gives what is to be written"},
	{"control", []string{"control", "spec", "reconcile", "internal"}, "the local API shows snapshots and takes orders through interfaces"},
	{"cmd/agentctl", []string{""}, "the one place that knows every concrete type"},
	{"cmd/agentctl-shim", []string{"runtime/shim", "runtime"}, "the shim is small and starts in two milliseconds"},
	{"test", []string{""}, "tests of the whole may use the whole"},
}

// library is a module that only some folders may import.
type library struct {
	path   string
	only   []string
	reason string
}

var libraries = []library{
	{"github.com/fsnotify/fsnotify", []string{"source"}, "one place knows the traps of watching files"},
	{"github.com/go-git/go-git/v5/plumbing", []string{"source"}, "it reads repositories of specs; those of tasks are git's own affair"},
	{"github.com/hiddeco/sshsig", []string{"source"}, "signatures of specs are verified where they are fetched"},
	{"modernc.org/sqlite", []string{"server"}, "the database is the server's"},
	{"database/sql", []string{"server"}, "the database is the server's"},
	{"github.com/robfig/cron/v3", []string{"spec"}, "a window is a plain value: who asks it gets open or closed"},
	{"github.com/spf13/cobra", []string{"cmd/agentctl"}, "flags and verbs are the command's; libraries take values"},
	{"gopkg.in/yaml.v3", []string{"spec", "envcache"}, "decoding with positions and limits is spec's; others use spec.Encode. envcache, which must not know spec, reads conda's own files"},
	{"github.com/google/go-containerregistry/pkg/v1", []string{"runtime/image"}, "one package speaks to registries, and trusts nothing of what they say"},
	{"github.com/opencontainers/runc/libcontainer", []string{"runtime/shim/sandbox"}, "libcontainer's interface and state change between releases: one package knows them, none of it goes to disk"},
	{"github.com/opencontainers/cgroups", []string{"runtime/shim/sandbox"}, "limits are the shim's; the agent reads files that the handle names"},
	{"github.com/vishvananda/netlink", []string{"runtime/internal/netns", "runtime/internal/nettest"}, "one place makes and removes links"},
	{"github.com/google/nftables", []string{"runtime/internal/firewall"}, "one place knows our rules, and touches no others"},
	{"github.com/NVIDIA/go-nvml/pkg/nvml", []string{"runtime/gpu"}, "the driver's library may hang: one goroutine asks it, and everybody else reads what it found"},
	{"tags.cncf.io/container-device-interface/pkg/cdi", []string{"runtime/gpu"}, "of what specifications say only a part is done: hooks are not"},
	{"github.com/docker/cli/opts", []string{"runtime/dockerargs"}, "what Docker's types read of the agent's own environment has to be kept from them"},
	{"github.com/kballard/go-shellquote", []string{"runtime/dockerargs", "worker"}, "what a task says in one line is parted into words by one library, as clearml-agent parts it: a # begins no comment"},
	{"github.com/pelletier/go-toml/v2", []string{"envcache"}, "the TOML that is read is that of Python projects"},
}

// shimForbids are packages that must not be in the shim, not even by others: each
// has cost its start-up time, its size, or needs what a task's image lacks.
var shimForbids = map[string]string{
	"net/http":                                       "costs milliseconds at each start and megabytes",
	"github.com/spf13/cobra":                         "the shim has no command line to speak of",
	"modernc.org/sqlite":                             "the shim keeps no database",
	"github.com/samber/lo":                           "the shim needs the standard library only",
	module + "/clearml":                              "the shim must work with any server, or none",
	module + "/spec":                                 "a spec may change under a running task; its shim must not see it",
	"github.com/google/nftables":                     "the packet filter is the agent's: its rules outlive every sandbox",
	"github.com/docker/cli/opts":                     "arguments are read by the agent, the shim gets values",
	"github.com/NVIDIA/go-nvml/pkg/nvml":             "the shim is static: it can't open a library",
	"github.com/prometheus/client_golang/prometheus": "the agent counts, the shim records",
}

// pkg is what `go list -json` tells of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Imports,Deps"}, args...)...)
	cmd.Dir = root(t)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// under tells whether the package path is folder or below it.
func under(path, folder string) bool {
	full := strings.TrimSuffix(module+"/"+folder, "/")
	return path == full || strings.HasPrefix(path, full+"/")
}

func underAny(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return under(path, f) })
}

// areaOf finds the deepest area of a package.
func areaOf(path string) (found area, ok bool) {
	for _, a := range areas {
		if under(path, a.folder) && (!ok || len(a.folder) > len(found.folder)) {
			found, ok = a, true
		}
	}
	return found, ok
}

// breaches lists what a package imports against the rules, with the reasons.
func breaches(p pkg) []string {
	a, ok := areaOf(p.ImportPath)
	if !ok {
		return []string{p.ImportPath + " is in no area: say in internal/archtest what it may import, and why"}
	}
	var found []string
	for _, imp := range p.Imports {
		if under(imp, "") && !slices.ContainsFunc(a.may, func(f string) bool { return under(imp, f) }) {
			found = append(found, fmt.Sprintf("%s imports %s: %s", p.ImportPath, imp, a.why))
		}
		for _, lib := range libraries {
			if (imp == lib.path || strings.HasPrefix(imp, lib.path+"/")) && !underAny(p.ImportPath, lib.only) && a.folder != "test" {
				found = append(found, fmt.Sprintf("%s imports %s, which only %s may: %s", p.ImportPath, imp, strings.Join(lib.only, " and "), lib.reason))
			}
		}
	}
	return found
}

func TestImportDirections(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, breach := range breaches(p) {
			t.Error(breach)
		}
	}
}

// A rule for a folder that is gone holds nothing and hides that it does not.
func TestRulesNamePackagesThatExist(t *testing.T) {
	packages := list(t, "./...")
	exists := func(folder string) bool {
		return slices.ContainsFunc(packages, func(p pkg) bool { return under(p.ImportPath, folder) })
	}
	for _, a := range areas {
		for _, folder := range append([]string{a.folder}, a.may...) {
			if !exists(folder) {
				t.Errorf("a rule names %s, where no package is any more", folder)
			}
		}
	}
	for _, lib := range libraries {
		for _, folder := range lib.only {
			used := slices.ContainsFunc(packages, func(p pkg) bool {
				return under(p.ImportPath, folder) && slices.Contains(p.Imports, lib.path)
			})
			if !used {
				t.Errorf("a rule says that %s may import %s, but it does not any more", folder, lib.path)
			}
		}
	}
}

func TestShimStaysSmall(t *testing.T) {
	shim := list(t, "./cmd/agentctl-shim")[0]
	for _, dep := range slices.Sorted(maps.Keys(shimForbids)) {
		if slices.Contains(shim.Deps, dep) {
			t.Errorf("the shim holds %s: %s", dep, shimForbids[dep])
		}
	}
}

// The rules themselves are tested: a rule that never refuses is none.
func TestBreachesAreFound(t *testing.T) {
	for _, p := range []pkg{
		{ImportPath: "agentctl/spec", Imports: []string{"agentctl/internal/fsx"}},
		{ImportPath: "agentctl/reconcile", Imports: []string{"agentctl/worker"}},
		{ImportPath: "agentctl/envcache/repo", Imports: []string{"agentctl/clearml"}},
		{ImportPath: "agentctl/runtime/shim", Imports: []string{"agentctl/envcache"}},
		{ImportPath: "agentctl/worker", Imports: []string{"modernc.org/sqlite"}},
		{ImportPath: "agentctl/newfolder"},
	} {
		if len(breaches(p)) == 0 {
			t.Errorf("%s importing %v was not refused", p.ImportPath, p.Imports)
		}
	}
	fine := pkg{ImportPath: "agentctl/worker", Imports: []string{"agentctl/envcache/repo", "agentctl/clearml", "os"}}
	if got := breaches(fine); len(got) != 0 {
		t.Errorf("refused what is allowed: %v", got)
	}
}
