//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"agentctl/test/e2e/harness"
)

// peerVersion is the clearml-agent that is measured, from PyPI.
const peerVersion = "3.0.3"

// peer is a number of clearml-agent daemons, as their documentation starts them.
type peer struct {
	n       *harness.Node
	home    string
	daemons []*exec.Cmd
}

// startPeer starts count daemons for a queue, each with a worker name of its own
// and empty caches.
func startPeer(n *harness.Node, api, queue string, count int) *peer {
	n.T.Helper()
	venv := filepath.Join(harness.Root(n.T), ".cache", "clearml-agent-"+peerVersion)
	made := exec.Command("bash", filepath.Join(harness.Root(n.T), "test", "setup", "sdk.sh"), peerVersion, venv, "clearml-agent")
	if out, err := made.CombinedOutput(); err != nil {
		n.T.Fatalf("cannot install clearml-agent: %v\n%s", err, out)
	}
	home, err := os.MkdirTemp(n.Dir, "peer-")
	if err != nil {
		n.T.Fatal(err)
	}
	p := &peer{n: n, home: home}
	n.T.Cleanup(p.stop)
	for i := range count {
		p.start(venv, api, queue, fmt.Sprintf("peer:%d", i))
	}
	return p
}

func (p *peer) start(venv, api, queue, worker string) {
	p.n.T.Helper()
	log, err := os.Create(filepath.Join(p.home, worker+".log"))
	if err != nil {
		p.n.T.Fatal(err)
	}
	defer log.Close() // the child has its own
	daemon := exec.Command(filepath.Join(venv, "bin", "clearml-agent"), "daemon", "--foreground", "--queue", queue, "--create-queue", "--cpu-only")
	daemon.Env = append(p.n.SDKEnv(), "HOME="+p.home, "CLEARML_API_HOST="+api, "CLEARML_WORKER_ID="+worker,
		"CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL=", "PATH="+filepath.Join(venv, "bin")+":"+os.Getenv("PATH"))
	daemon.Stdout, daemon.Stderr = log, log
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := daemon.Start(); err != nil {
		p.n.T.Fatal(err)
	}
	p.daemons = append(p.daemons, daemon)
}

// stop ends the daemons and what they started.
func (p *peer) stop() {
	for _, daemon := range p.daemons {
		_ = syscall.Kill(-daemon.Process.Pid, syscall.SIGTERM)
	}
	for _, daemon := range p.daemons {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = daemon.Wait()
		}()
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			_ = syscall.Kill(-daemon.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	}
	p.daemons = nil
	if p.n.T.Failed() {
		logs, _ := filepath.Glob(filepath.Join(p.home, "*.log"))
		for _, name := range logs {
			text, _ := os.ReadFile(name)
			p.n.T.Logf("%s:\n%s", name, text)
		}
	}
}
