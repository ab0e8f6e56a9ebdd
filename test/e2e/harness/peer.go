package harness

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// PeerVersion is the clearml-agent that ours is put beside, from PyPI.
const PeerVersion = "3.0.3"

// peerVenv lies beside the SDK's.
func peerVenv(t testing.TB) string {
	return installed(t, "clearml-agent", PeerVersion, filepath.Join(filepath.Dir(sdkVenv(t)), "clearml-agent-"+PeerVersion))
}

// NewPeerHome makes a home for clearml-agent, which holds a clearml.conf for the node's
// server, its API at a URL, and in time the caches. settings are those of its agent section.
func (n *Node) NewPeerHome(api, settings string) (home string) {
	n.T.Helper()
	home, err := os.MkdirTemp(n.Dir, "peer-")
	if err != nil {
		n.T.Fatal(err)
	}
	keys, err := n.credentials(n.T.Context())
	if err != nil {
		n.T.Fatal(err)
	}
	ends := n.Endpoints()
	// HOCON holds JSON.
	section, err := json.Marshal(map[string]any{
		"api_server": api, "files_server": ends.Files, "web_server": ends.Web,
		"credentials": map[string]string{"access_key": keys.AccessKey, "secret_key": keys.SecretKey},
	})
	if err != nil {
		n.T.Fatal(err)
	}
	text := "api " + string(section) + "\nagent { " + settings + " }\nsdk { development { " + SDKDetectFirst + " } }\n"
	if err := os.WriteFile(filepath.Join(home, "clearml.conf"), []byte(text), 0o600); err != nil {
		n.T.Fatal(err)
	}
	// It keeps a file per daemon of the machine in the temporary folder.
	if err := os.Mkdir(filepath.Join(home, "tmp"), 0o700); err != nil {
		n.T.Fatal(err)
	}
	return home
}

// Peer is a command of the real clearml-agent with a home that NewPeerHome made.
func (n *Node) Peer(home, worker string, args ...string) *exec.Cmd {
	n.T.Helper()
	bin := filepath.Join(peerVenv(n.T), "bin")
	cmd := exec.Command(filepath.Join(bin, "clearml-agent"), args...)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+filepath.Join(home, "tmp"), "CLEARML_WORKER_ID="+worker, "PATH="+bin+":"+os.Getenv("PATH"))
	return cmd
}

// PeerDaemon is a daemon of clearml-agent that runs.
type PeerDaemon struct {
	n     *Node
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when cmd has been waited for
}

// StartPeer starts a daemon for queues. It ends with the test.
func (n *Node) StartPeer(home, worker string, env []string, queues ...string) *PeerDaemon {
	n.T.Helper()
	p := &PeerDaemon{n: n, log: filepath.Join(home, worker+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		n.T.Fatal(err)
	}
	defer log.Close() // the child has its own
	args := append([]string{"daemon", "--foreground", "--cpu-only", "--create-queue", "--queue"}, queues...)
	p.cmd = n.Peer(home, worker, args...)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		n.T.Fatal(err)
	}
	go func() { // ends with the process, which Stop kills
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	n.T.Cleanup(func() {
		p.Stop()
		if n.T.Failed() {
			n.T.Logf("%s said:\n%s", worker, tail(p.Log(), 200))
		}
	})
	return p
}

// Stop ends the daemon by SIGTERM, and what it started.
func (p *PeerDaemon) Stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

// Log is what the daemon said.
func (p *PeerDaemon) Log() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}
