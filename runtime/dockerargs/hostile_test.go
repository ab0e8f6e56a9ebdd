package dockerargs

import (
	"bufio"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

var update = flag.Bool("update", false, "rewrite the golden files")

// open is the most generous policy that an operator may have without having named
// what belongs to nobody: what it refuses no key allows.
var open = Policy{
	Allow: Allow{
		Env: true, HostEnv: []string{"HF_TOKEN"}, ShmSize: 16 << 30, Tmpfs: 4 << 30,
		Mounts: []string{"/data", "/srv/models/"}, MountsWritable: []string{"/scratch", "/data/out"},
		Network: []string{NetworkHost, NetworkPrivate}, Ulimits: []string{"memlock", "stack"},
		CapAdd: []string{"CAP_SYS_PTRACE"}, Devices: []string{"/dev/infiniband", "/dev/kfd"}, User: true,
	},
	Limits:   Limits{CPUs: 4, Memory: 32 << 30, PIDs: 4096, ShmSize: 1 << 30, Ulimits: []Ulimit{{"nofile", 65536, 65536}}},
	Network:  NetworkPrivate,
	Platform: "linux/amd64",
	Never:    []string{"/var/lib/agentctl", "/etc/agentctl"},
	Reserved: []string{"/var/lib/agentctl"},
}

// TestHostile: each line of testdata/hostile.txt is refused, with the reason that
// stands below it, and gives nothing.
func TestHostile(t *testing.T) {
	const file = "testdata/hostile.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	count := 0
	for lines := bufio.NewScanner(strings.NewReader(string(data))); lines.Scan(); {
		line, is := strings.CutPrefix(lines.Text(), "> ")
		if !is {
			if strings.HasPrefix(lines.Text(), "#") {
				fmt.Fprintln(&out, lines.Text())
			}
			continue
		}
		count++
		requests, refused := Parse(unquote(t, line))
		d := Decide(requests, open)
		refused = append(refused, d.Refused...)
		if len(refused) == 0 {
			t.Errorf("granted: %s: %+v", line, d.Settings)
		}
		if diff := cmp.Diff(Settings{}, d.Settings, addrs); diff != "" {
			t.Errorf("%s gives (-nothing +settings)\n%s", line, diff)
		}
		fmt.Fprintf(&out, "> %s\n", line)
		for _, r := range refused {
			fmt.Fprintf(&out, "  %s\n", r)
		}
	}
	if count < 80 {
		t.Errorf("only %d lines", count)
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(data), out.String()); diff != "" {
		t.Errorf("%s (-there +now), rewrite with -update:\n%s", file, diff)
	}
}

func unquote(t testing.TB, line string) string {
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return text
}

// hostile are the arguments of testdata/hostile.txt.
func hostile(t testing.TB) (texts []string) {
	data, err := os.ReadFile("testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if line, is := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "> "); is {
			texts = append(texts, unquote(t, line))
		}
	}
	return texts
}
