package runtime

import (
	"fmt"
	"net"
	"os"
	"testing"
)

// In the network of the host a task reaches no abstract unix socket of the host, as the
// daemons of other tools listen on them (CVE-2020-15257), and its own work on.
func TestSandboxAbstractSockets(t *testing.T) {
	if err := AbstractSockets(); err != nil {
		t.Skipf("abstract sockets can't be scoped here: %v", err)
	}
	name := fmt.Sprintf("agentctl-test-%d", os.Getpid())
	l, err := net.Listen("unix", "@"+name)
	must(t, err)
	defer l.Close()
	accepted := make(chan struct{}, 1)
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
			accepted <- struct{}{}
		}
	}()
	c, err := net.Dial("unix", "@"+name) // the test would see one that gets through
	must(t, err)
	_ = c.Close()
	<-accepted

	cfg := hostConfig(t, `cat > /tmp/try.pl <<'X'
use Socket;
sub dial { socket(my $s, AF_UNIX, SOCK_STREAM, 0); print connect($s, pack_sockaddr_un("\0$_[0]")) ? "in\n" : "$!\n" }
dial($ARGV[0]);
socket(my $l, AF_UNIX, SOCK_STREAM, 0); bind($l, pack_sockaddr_un("\0own-$$")); listen($l, 1);
$| = 1; dial("own-$$");
if (!fork) { dial("own-" . getppid()); exit }
wait;
X
perl /tmp/try.pl "$0"`)
	cfg.Args = append(cfg.Args, name)
	exit, out := runToEnd(t, cfg)
	if want := "Operation not permitted\nin\nin\n"; exit.Code != 0 || out[StreamStdout] != want {
		t.Errorf("%+v, wrote %q, want %q", exit, out, want)
	}
	select {
	case <-accepted:
		t.Error("the host's socket was reached")
	default:
	}
}
