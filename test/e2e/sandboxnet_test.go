package e2e_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/samber/lo"
	"github.com/vishvananda/netlink"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/test/e2e/harness"
)

// metadataAddress gives the host a link-local address, as clouds do, at which it listens.
func metadataAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("169.254.%d.%d", 64+os.Getpid()>>8%128, os.Getpid()%256)
	addr, err := netlink.ParseAddr(text + "/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(loopback, addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.AddrDel(loopback, addr) })
	l, err := net.Listen("tcp", text+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c, err := net.Dial("tcp", l.Addr().String()) // it is there to be reached
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Metadata addresses and, in private networks, services of the host are out of reach of
// tasks, unless node.yaml lets them; the agent's socket is so always.
func TestSandboxReach(t *testing.T) {
	t.Parallel()
	// Ids of its own: the rules of other nodes hold for those that all have.
	const private = "    network: private\n    ids: {base: 655360000, size: 65536}\n    allow: {network: [host]}\n"
	n := boxed(t, "host", private)
	at := metadataAddress(t)
	try := func(network, want string) {
		t.Helper()
		task := n.Submit(harness.Script{
			Name: network, Code: fmt.Sprintf(`import socket
try:
    socket.create_connection((%q, %d), timeout=20).close()
    print("metadata reached")
except OSError as e:
    print("metadata refused", e)
try:
    socket.socket(socket.AF_UNIX).connect(%q)
    print("agent reached")
except OSError as e:
    print("agent refused", e)
`, at.Addr(), at.Port(), n.Socket),
			Change: func(t *clearml.NewTask) { t.Container = map[string]string{"arguments": "--network=" + network} },
		})
		n.WaitStatus(task, clearml.StatusCompleted)
		n.WantConsole(t, task, "metadata "+want)
		n.WantConsole(t, task, "agent refused")
	}
	try("host", "refused")
	try("private", "refused")
	applied, err := os.ReadFile(n.File)
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(strings.Replace(string(applied), private, fmt.Sprintf("%s    metadata: true\n    hostPorts: [%d]\n", private, at.Port()), 1))
	try("host", "reached")
	try("private", "reached")
}

// Of a private network whose agent and shim were killed nothing is left on the host
// after the next start: no link, no rule. An agent that ends leaves none either.
func TestSandboxNetworkIsSwept(t *testing.T) {
	t.Parallel()
	n := boxed(t, "host", "    network: private\n    createAhead: false\n")
	links := runtime.PrivateLinks(n.State)
	there := func() (found []string) {
		all, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range all {
			if strings.HasPrefix(l.Name, links) {
				found = append(found, "link")
			}
		}
		c, err := nftables.New()
		if err != nil {
			t.Fatal(err)
		}
		tables, err := c.ListTables()
		if err != nil {
			t.Fatal(err)
		}
		tag := strings.TrimSuffix(strings.TrimPrefix(links, "agc"), "-")
		if lo.ContainsBy(tables, func(table *nftables.Table) bool { return table.Name == "agentctl_"+tag }) {
			found = append(found, "table")
		}
		return found
	}
	want := func(what string, want ...string) { // the kernel takes a network down after its last process
		t.Helper()
		harness.Eventually(t, harness.Patience, what, func() string {
			if got := there(); !slices.Equal(got, want) {
				return fmt.Sprintf("there are %v", got)
			}
			return ""
		})
	}
	n.WaitStatus(n.Submit(shellTask("true\n", nil)), clearml.StatusCompleted)
	want("only the rules after a task", "table")
	n.StopAgent()
	want("nothing after the agent")
	n.StartAgent()
	task := n.Submit(shellTask("echo begun; sleep 600\n", nil))
	n.WaitConsole(task, regexp.MustCompile("^begun"))
	want("all of a task that runs", "link", "table")
	n.KillAgent()
	killShim(t, n, task)
	n.StartAgent()
	n.WaitStatus(task, clearml.StatusStopped)
	want("nothing of what was killed")
}
