package runtime

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// known is a way out that others had, or a class of them, and what shows that it is
// none here: an attack, tests elsewhere, modules that are not in this program, or
// that are not older than what mended them.
type known struct {
	cve, what, here string
	attack          func(*testing.T)
	tests           []string // "package Test"
	without         []string // modules, by the beginning of their paths
	least           map[string]string
}

// lead is where links of images lead to, that nothing may come from or go to.
const lead = "OUT"

var knowns = []known{
	{
		cve: "CVE-2019-5736", what: "an image's program is the runtime's own, and a task writes it while it is executed",
		here:   "the runner is executed from a read-only mount of its own, cannot be looked into, and belongs to nobody inside",
		attack: againstExec(`ln -sf /proc/self/exe /tmp/self; for f in /proc/[0-9]*/exe /dev/.agentctl-shim-runner; do echo bad >> $f; done`, ExecConfig{Args: []string{"/tmp/self"}}),
		tests:  []string{"runtime TestHostilePrograms"}, least: map[string]string{"github.com/opencontainers/runc": "1.5.0"},
	},
	{
		cve: "CVE-2024-21626", what: "a working folder that is a descriptor of the runtime",
		here: "the runner has no descriptor of a folder, and changes to the working folder as the task would", attack: aWorkingFolder,
		tests: []string{"runtime TestHostileFolders"}, least: map[string]string{"github.com/opencontainers/runc": "1.5.0"},
	},
	{
		cve: "CVE-2025-31133", what: "/dev/null of an image is a link, and what is to be masked with it is written",
		here: "/dev is a file system of the sandbox's own", attack: linked(map[string]string{"dev/null": "/proc/sys/kernel/core_pattern", "dev/zero": "/proc/sysrq-trigger"}, "", ""),
		tests: []string{"runtime TestSandboxAsRuncSpec"}, least: map[string]string{"github.com/opencontainers/runc": "1.4.0"},
	},
	{
		cve: "CVE-2025-52565", what: "/dev/console or a terminal is a link, while one is made",
		here: "the runner opens terminals inside, and looks at what it opened",
		attack: inTurn(linked(map[string]string{"dev/pts": lead, "dev/console": "/proc/sys/kernel/core_pattern", "dev/ptmx": lead + "/secret"}, "", ""),
			againstExec(`ln -sf OUT/secret /dev/console; ln -sf /proc/sys/kernel/core_pattern /dev/ptmx; mv /dev/pts /dev/p; ln -sfn OUT /dev/pts; rm -f /dev/pts /dev/ptmx; mv /dev/p /dev/pts`,
				ExecConfig{Args: sh("tty; echo x > /dev/console; cat secret /dev/console; true"), TTY: true})),
		tests: []string{"runtime TestExecOnATerminal"},
	},
	{
		cve: "CVE-2025-52881", what: "writes to /proc of the runtime are led elsewhere, by links or mounts exchanged meanwhile",
		here: "nothing of a task runs before its sandbox is done, and nothing is mounted in /proc", attack: inTurn(writesSettings, againstMounts("/proc/self/attr"), againstMounts("/proc/sys/kernel")),
		tests: []string{"runtime TestSandboxFilter"},
	},
	{
		cve: "CVE-2026-41579", what: "/dev of an image leads to a folder of the host", here: "paths of an image are followed inside its root alone",
		attack: inTurn(linked(map[string]string{"dev": lead}, "", ""), linked(map[string]string{"dev": up + lead}, "", "")),
		tests:  []string{"runtime TestHostileRoots"}, least: map[string]string{"github.com/opencontainers/runc": "1.5.0"},
	},
	{
		cve: "CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2019-16884", what: "/proc of an image is a link, so that what confines the task is written nowhere",
		here: "refused", attack: inTurn(linked(map[string]string{"proc": lead}, "", "ordinary directory"), linked(map[string]string{"proc": "/sys"}, "", "ordinary directory")),
	},
	{
		cve: "CVE-2021-30465, CVE-2024-45310", what: "what a mount goes to is exchanged with a link in a folder that two sandboxes share",
		here: "targets are followed inside the root by descriptors, late ones follow no link", attack: inTurn(againstMounts(lead), againstMounts(up+lead)),
		tests: []string{"runtime TestHostileLateTargets"},
	},
	{
		cve: "CVE-2022-0492, CVE-2023-25809, CVE-2022-29162", what: "cgroups of the host are mounted or written; capabilities are inherited",
		here: "no capability, cgroups read-only in a namespace of their own, no new namespaces", attack: writesCgroups, tests: []string{"runtime TestSandboxCapabilities"},
	},
	{
		cve: "CVE-2020-15257", what: "the runtime listens on sockets without a file, which the host's network shares", here: "sockets of the shim are files in a folder that only the agent's user may enter; those of the host are out of reach where the kernel has Landlock's scopes",
		attack: findsSockets, tests: []string{"runtime TestSandboxAbstractSockets"},
	},
	{
		cve: "CVE-2024-0132, CVE-2025-23359", what: "mounts for a GPU are led out of an image by links at their targets",
		here: "targets are followed inside the root alone; files of the driver are mounted as any others are, and nothing of NVIDIA's runs as root beside an image",
		attack: inTurn(linked(map[string]string{"usr/local/cuda/compat/libcuda.so.1": up + lead}, "/usr/local/cuda/compat/libcuda.so.1/lib", ""),
			linked(map[string]string{"usr/local/cuda": up + lead}, "/usr/local/cuda/compat", "")), without: []string{"github.com/NVIDIA/nvidia-container-toolkit", "github.com/NVIDIA/go-nvlib"},
	},
	{
		cve: "CVE-2025-23266", what: "a hook with the host's rights takes LD_PRELOAD of an image", here: "there are no hooks, those of CDI specifications are not run; shim and runner are static and get no variable of the image", attack: inheritsVariables,
		tests: []string{"test/e2e TestSandboxGPUs"},
	},
	{
		cve: "CVE-2025-23267", what: "ld.so.cache of an image leads to a file of the host, which is written", here: "nothing writes into an image but the task",
		attack: linked(map[string]string{"etc/ld.so.cache": lead + "/secret", "etc/ld.so.conf.d": lead}, "", ""),
	},
	{cve: "CVE-2026-24260", what: "NVIDIA's toolkit looks at what is exchanged meanwhile", here: "it is not used", without: []string{"github.com/NVIDIA/nvidia-container-toolkit", "github.com/NVIDIA/go-nvlib"}},
	{
		cve: "CVE-2021-29136 and other unpackers of layers", what: "a layer writes outside itself", here: "no link is followed, as what a layer holds is known from memory",
		tests: []string{"runtime/image/internal/unpack TestHostileLayers", "runtime/image TestHostileImages"}, without: []string{"github.com/opencontainers/umoci", "github.com/containerd/containerd"},
	},
	{
		cve: "CVE-2024-23651, CVE-2024-23652, CVE-2024-23653, CVE-2024-41110", what: "faults of BuildKit and of the Docker daemon; its socket in a task", here: "there is none of them, and a socket is never mounted",
		tests: []string{"runtime/dockerargs TestHostile", "runtime TestHostImageShowsPrograms"}, without: []string{"github.com/moby/buildkit", "github.com/docker/docker"},
	},
	{
		cve: "CVE-2023-49568, CVE-2023-49569, CVE-2025-21613, CVE-2026-45570, CVE-2026-45571, CVE-2026-71556", what: "faults of go-git", here: "repositories of tasks: the git command, its objects checked; those of specs: files are read from the objects, without a work tree, and packs are judged before they are read",
		tests: []string{"envcache/repo TestHostileTrees", "envcache/repo TestHostileRepositories", "source TestGitPaths", "source TestGitRefs", "source TestCheckPack", "source TestGitRedirect"},
		least: map[string]string{"github.com/go-git/go-git/v5": "5.19.2"},
	},
	{
		cve: "CVE-2024-32002, CVE-2024-32004, CVE-2024-32465, CVE-2025-48384, CVE-2025-48385, CVE-2022-39253, CVE-2018-17456, CVE-2021-21300", what: "a clone runs a program of the repository, or reads the host",
		here:  "no hooks, filters or helpers of a repository; no local transport; objects checked",
		tests: []string{"envcache/repo TestHostileRepositories", "envcache/repo TestHostileTrees", "envcache/repo TestHostileAddresses", "envcache/repo TestFolderForASubmoduleMustBePlain", "envcache/repo TestHostilePatches"},
	},
	{cve: "CVE-2024-50349, CVE-2024-52006, CVE-2024-53263, CVE-2025-23040", what: "credentials are given to another host", here: "a helper answers for one host; addresses with controls are refused", tests: []string{"envcache/repo TestCredentials", "envcache/repo TestHostileAddresses", "envcache/repo TestRelativeSubmodulesAndCredentials"}},
	{cve: "CVE-2024-52005", what: "a server writes controls to a terminal", here: "they are taken out", tests: []string{"envcache/internal/talk TestLines", "cmd/agentctl TestCleaner"}},
	{
		cve: "CVE-2007-4559, CVE-2025-4517, GHSA-q53q-5r4j-5729, dependency confusion", what: "a package writes outside its environment, or comes from elsewhere", here: "environments are built in a sandbox; archives are checked; an index is one that was named",
		tests: []string{"test/e2e TestSandboxBuildsInTheImage", "envcache TestHostileArchivesAreRefused", "envcache TestPinsOfAnotherSourceAreNotAnotherName", "envcache TestAForgedReportPoisonsNobody"},
	},
	{
		cve: "CVE-2024-24590 to CVE-2024-24595", what: "server and peers of ClearML are hostile", here: "nothing is unpickled; names are no paths; files need credentials; a task has a token for itself",
		tests: []string{"clearml TestHostileReplies", "server TestHostilePaths", "server TestFilesNeedCredentials", "test/e2e TestTaskGetsNoSecrets"},
	},
	{cve: "arguments of docker run", what: "a task takes the host by them", here: "a closed list of typed arguments", tests: []string{"runtime/dockerargs TestHostile"}},
	{cve: "secrets in logs", what: "credentials reach logs, errors, arguments", here: "they are taken out where text comes in", tests: []string{"worker TestSecretsDoNotLeave", "clearml TestSecretsStayOutOfErrors", "envcache/internal/secret TestRedact", "worker TestSecretFilesAreNeverMounted"}},
	{cve: "what is left between tasks", what: "a task finds processes, memory or files of another", here: "namespaces, folders and cgroups of its own, gone at its end", tests: []string{"runtime TestSandboxesAreApart", "runtime TestNothingOfTheAgentInASandbox", "test/e2e TestSpoiledEnvironment"}},
}

// TestKnownAttacks attacks sandboxes in each way that is known of others; with the
// build tag long the races take long.
func TestKnownAttacks(t *testing.T) {
	for _, k := range knowns {
		if k.attack != nil {
			t.Run(k.cve, k.attack)
		}
	}
}

// TestKnownAttacksAreAnswered checks what the table says of each, and that
// docs/known-attacks.md says the same.
func TestKnownAttacksAreAnswered(t *testing.T) {
	modules := readModules(t)
	var doc strings.Builder
	doc.WriteString("# Known attacks\n\nWays out of sandboxes, and into what prepares tasks, that others had, and what shows that they are none here. Made by `./justw golden` from the table in runtime/cve_test.go; `TestKnownAttacks` runs the attacks, as root and as an ordinary user.\n\n| | what it was | here | shown by |\n|---|---|---|---|\n")
	for _, k := range knowns {
		var by []string
		if k.attack != nil {
			by = append(by, "an attack")
		}
		for _, test := range k.tests {
			dir, name, _ := strings.Cut(test, " ")
			if !declares(t, dir, name) {
				t.Errorf("%s: there is no %s", k.cve, test)
			}
			by = append(by, fmt.Sprintf("%s `%s`", dir, name))
		}
		for _, path := range k.without {
			for module := range modules {
				if strings.HasPrefix(module+"/", path+"/") {
					t.Errorf("%s: %s is here", k.cve, module)
				}
			}
			by = append(by, "no "+path)
		}
		for module, least := range k.least {
			if slices.Compare(numbers(modules[module]), numbers(least)) < 0 {
				t.Errorf("%s: %s is %q, older than %s", k.cve, module, modules[module], least)
			}
			by = append(by, fmt.Sprintf("%s ≥ %s", filepath.Base(strings.TrimSuffix(module, "/v5")), least))
		}
		if len(by) == 0 {
			t.Errorf("%s: nothing shows it", k.cve)
		}
		fmt.Fprintf(&doc, "| %s | %s | %s | %s |\n", k.cve, k.what, k.here, strings.Join(by, ", "))
	}
	const file = "../docs/known-attacks.md"
	if *update {
		must(t, os.WriteFile(file, []byte(doc.String()), 0o644))
	}
	have, err := os.ReadFile(file)
	must(t, err)
	if diff := cmp.Diff(string(have), doc.String()); diff != "" {
		t.Errorf("%s (-there +now), rewrite with -update:\n%s", file, diff)
	}
}

// readModules are the versions of all modules that this one needs.
func readModules(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("../go.mod")
	must(t, err)
	modules := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v([0-9.]+)`).FindAllStringSubmatch(string(data), -1) {
		modules[m[1]] = m[2]
	}
	return modules
}

// declares tells whether a package has a test of that name.
func declares(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	must(t, err)
	return slices.ContainsFunc(files, func(file string) bool {
		data, err := os.ReadFile(file)
		must(t, err)
		return strings.Contains(string(data), "\nfunc "+name+"(t *testing.T")
	})
}

func numbers(version string) (all []int) {
	for _, part := range strings.Split(version, ".") {
		n, _ := strconv.Atoi(part)
		all = append(all, n)
	}
	return all
}
