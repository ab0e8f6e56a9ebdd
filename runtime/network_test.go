package runtime

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/netns"
	"agentctl/runtime/internal/nettest"
)

// networked is a host with the world around it, in network namespaces, and an agent.
type networked struct {
	nettest.Internet
	policy NetworkPolicy
	server string // of the tasks, on the host's loopback
}

func newNetworked(t *testing.T) *networked {
	t.Helper()
	n := &networked{Internet: nettest.NewInternet(t), server: "127.0.0.1:8008"}
	n.policy = NetworkPolicy{Owner: t.Name(), Private: true, Lock: filepath.Join(newDir(t), "lock")}
	n.World.Listen(t, ":80")
	n.Host.Listen(t, ":80")
	n.Host.Listen(t, n.server)
	return n
}

// config is of a task that asks its network and its server, by address and by name.
func (n *networked) config(t *testing.T, mode, script string) Config {
	t.Helper()
	cfg := boxConfig(t, `
ask() { echo "$1: $(nc -w 5 "$2" "$3" </dev/null 2>/dev/null)"; }
ask server 127.0.0.1 8008; ask named api.example.com 8008; ask direct 192.0.2.55 443
ask far `+nettest.FarAddr+` 80; ask cloud `+nettest.CloudAddr+` 80; ask host `+nettest.HostAddr+` 80
echo links: $(ls /sys/class/net)
`+script, busyboxLayer(t))
	servers, err := PlanServers("http://"+n.server, "http://api.example.com:8008", "https://192.0.2.55")
	must(t, err)
	for i := range servers.Routes {
		servers.Routes[i].Server = n.server // nothing is asked for outside of the test
	}
	cfg.Sandbox.Hosts = filepath.Join(newDir(t), "hosts")
	must(t, os.WriteFile(cfg.Sandbox.Hosts, []byte("127.0.0.1 localhost\n"+servers.HostsLines()), 0o644))
	cfg.Sandbox.Network = Network{Mode: mode, Servers: servers}
	if mode == NetworkPrivate {
		cfg.Sandbox.Network.Pool = n.ready(t).Pool
	}
	return cfg
}

func (n *networked) ready(t *testing.T) (ready Networks) {
	t.Helper()
	n.Host.Must(t, func() (err error) {
		ready, err = ReadyNetworks(context.Background(), n.policy)
		return err
	})
	return ready
}

// start starts a task whose shim is in the host's network.
func (n *networked) start(t *testing.T, cfg Config) *Task {
	t.Helper()
	var task *Task
	n.Host.Must(t, func() (err error) {
		task, err = launcher(realShim(t)).Start(context.Background(), cfg)
		return err
	})
	t.Cleanup(func() { _ = task.Kill(); wait(t, task) })
	return task
}

// links lists the links of sandboxes on the host.
func (n *networked) links(t *testing.T) []string {
	t.Helper()
	var names []string
	n.Host.Must(t, func() error {
		all, err := net.Interfaces()
		for _, l := range all {
			if strings.HasPrefix(l.Name, netns.Prefix) {
				names = append(names, l.Name)
			}
		}
		return err
	})
	return names
}

const (
	loopbackSaw = "127.0.0.1" // whom the server saw
	nobody      = ""
)

// answers is what a task must have said.
func answers(far, links string) string {
	return fmt.Sprintf("server: %s\nnamed: %[1]s\ndirect: %[1]s\nfar: %s\ncloud: \nhost: \nlinks: %s\n", loopbackSaw, far, links)
}

func TestSandboxReaches(t *testing.T) {
	n := newNetworked(t)
	for mode, want := range map[string]string{
		NetworkNone:    answers(nobody, "lo"),
		NetworkPrivate: answers(nettest.HostAddr, "eth0 lo"),
	} {
		t.Run(mode, func(t *testing.T) {
			cfg := n.config(t, mode, "")
			exit := wait(t, n.start(t, cfg))
			out := readAll(t, cfg.Dir)
			if diff := cmp.Diff(want, out[StreamStdout]); diff != "" || exit.Code != 0 || out[StreamAgent] != "" {
				t.Errorf("ended as %+v, with %q: %s", exit, out[StreamAgent], diff)
			}
			eventually(t, "its links are gone", func() bool { return n.links(t) == nil })
		})
	}
}

// A task without a network reaches its servers, also where the agent is not root.
func TestSandboxServers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("served"))
			_ = c.Close()
		}
	}()
	defer func() { _ = l.Close(); <-served }()
	servers, err := PlanServers("http://"+l.Addr().String(), "https://192.0.2.55", "http://[2001:db8::1]:8008")
	must(t, err)
	for i := range servers.Routes {
		servers.Routes[i].Server = l.Addr().String()
	}
	cfg := boxConfig(t, `for a in "`+strings.Replace(l.Addr().String(), ":", " ", 1)+`" "192.0.2.55 443" "2001:db8::1 8008" "127.0.0.1 1"; do nc -w 5 $a </dev/null; echo " $?"; done`, busyboxLayer(t))
	cfg.Sandbox.Network = Network{Mode: NetworkNone, Servers: servers}
	exit, out := runToEnd(t, cfg)
	if want := "served 0\nserved 0\nserved 0\n 1\n"; exit.Code != 0 || out[StreamStdout] != want {
		t.Errorf("ended as %+v, with %q; want %q", exit, out, want)
	}
}

// In the host's network a task is kept from metadata, unless it is allowed.
func TestSandboxInTheHostsNetwork(t *testing.T) {
	n := newNetworked(t)
	n.policy.Private, n.policy.Users = false, IDRange{Base: 100000, Size: 65536}
	for _, allowed := range []bool{false, true} {
		n.policy.Metadata = allowed
		if ready := n.ready(t); ready.Pool != nil || ready.Notes != nil {
			t.Errorf("ready with %+v", ready)
		}
		cfg := boxConfig(t, `for a in `+nettest.FarAddr+` `+nettest.CloudAddr+` `+nettest.HostAddr+`; do echo "$(nc -w 5 $a 80 </dev/null 2>/dev/null)"; done`, busyboxLayer(t))
		exit := wait(t, n.start(t, cfg))
		want := nettest.HostAddr + "\n\n" + nettest.HostAddr + "\n"
		if allowed {
			want = strings.Repeat(nettest.HostAddr+"\n", 3)
		}
		if out := readAll(t, cfg.Dir)[StreamStdout]; out != want || exit.Code != 0 {
			t.Errorf("allowed %v: ended as %+v, with %q", allowed, exit, out)
		}
	}
}

// One that was made ahead has its network before its task is known, and a server
// that is gone is told on the task's console.
func TestSandboxNetworkAhead(t *testing.T) {
	n := newNetworked(t)
	cfg := n.config(t, NetworkPrivate, "")
	gone := &cfg.Sandbox.Network.Servers.Routes[0]
	gone.Server = "127.0.0.1:9"
	var spare *Spare
	ahead := cfg
	ahead.Dir, ahead.ID = newDir(t), "spare"
	n.Host.Must(t, func() (err error) {
		spare, err = launcher(realShim(t)).Prepare(context.Background(), ahead)
		return err
	})
	must(t, spare.Ready(context.Background()))
	if got := n.links(t); len(got) != 1 {
		t.Errorf("links: %v", got)
	}
	task, err := spare.Start(context.Background(), cfg)
	must(t, err)
	exit := wait(t, task)
	out := readAll(t, cfg.Dir)
	if want := strings.Replace(answers(nettest.HostAddr, "eth0 lo"), "server: "+loopbackSaw, "server: ", 1); out[StreamStdout] != want || exit.Code != 0 {
		t.Errorf("ended as %+v: %s", exit, cmp.Diff(want, out[StreamStdout]))
	}
	if !strings.HasPrefix(out[StreamAgent], "agentctl: cannot reach the task's server 127.0.0.1:9: ") {
		t.Errorf("the console says %q", out[StreamAgent])
	}
}

// The kernel takes down the network of a sandbox whose shim was killed.
func TestSandboxNetworkShimDies(t *testing.T) {
	n := newNetworked(t)
	for _, point := range []string{"netns.linked", "netns.connected", "shim.connected", "shim.before-exit"} {
		t.Run(point, func(t *testing.T) {
			cfg := n.config(t, NetworkPrivate, "")
			t.Setenv("AGENTCTL_CRASH_AT", point)
			if exit := wait(t, n.start(t, cfg)); exit.Reason != Lost {
				t.Errorf("ended as %+v", exit)
			}
			eventually(t, "its links are gone", func() bool { return n.links(t) == nil })
		})
	}
}

// Networks that hang on are found by the nonces of runs.
func TestSweepNetworks(t *testing.T) {
	n := newNetworked(t)
	task := n.start(t, n.config(t, NetworkPrivate, "sleep 1000"))
	eventually(t, "it has its network", func() bool { return n.links(t) != nil })
	sweep := func(live bool) (removed int) {
		n.Host.Must(t, func() (err error) {
			removed, err = SweepNetworks(context.Background(), n.policy, func(nonce string) bool { return live && nonce == task.Handle().Nonce })
			return err
		})
		return removed
	}
	if removed := sweep(true); removed != 0 || n.links(t) == nil {
		t.Errorf("%d of a task that lives are gone", removed)
	}
	if removed := sweep(false); removed != 1 || n.links(t) != nil {
		t.Errorf("%d are gone, left %v", removed, n.links(t))
	}
}

func TestReadyNetworks(t *testing.T) {
	n := newNetworked(t)
	n.Host.Must(t, func() error { // a new namespace has what the host has
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0o644)
	})
	first, second := n.ready(t), n.ready(t)
	said := func(ready Networks, what string) bool {
		return slices.ContainsFunc(ready.Notes, func(note string) bool { return strings.Contains(note, what) })
	}
	plain := func() error {
		// Of this thread alone, which ends here.
		_, _, _ = unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534)
		_, err := ReadyNetworks(context.Background(), n.policy)
		return err
	}
	if err := n.Host.Do(plain); err == nil || !strings.Contains(err.Error(), "use the network none or host") {
		t.Errorf("for a plain user: %v", err)
	}
	if !said(first, "net.ipv4.ip_forward was 0") || said(second, "ip_forward") {
		t.Errorf("notes %q, then %q", first.Notes, second.Notes)
	}
	if *first.Pool != *second.Pool {
		t.Errorf("pools %v, then %v", first.Pool, second.Pool)
	}
}
