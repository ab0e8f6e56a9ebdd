package source

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
)

// gitRepo is a bare repository and a clone of it to make commits in.
type gitRepo struct {
	t          *testing.T
	bare, work string
}

func newGitRepo(t *testing.T, bare string) *gitRepo {
	t.Helper()
	r := &gitRepo{t: t, bare: bare, work: filepath.Join(t.TempDir(), "work")}
	must(t, os.MkdirAll(r.work, 0o755))
	r.git("init", "-q", "-b", "main", "--bare", bare)
	r.git("init", "-q", "-b", "main")
	r.git("remote", "add", "origin", bare)
	return r
}

// git runs git in the clone, apart from the settings of whoever runs the test.
func (r *gitRepo) git(args ...string) string {
	r.t.Helper()
	return r.gitIn(nil, args...)
}

func (r *gitRepo) gitIn(stdin io.Reader, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = r.work, stdin
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files (name, text, …), commits and pushes them, and returns the hash.
func (r *gitRepo) commit(subject string, files ...string) string {
	r.t.Helper()
	for i := 0; i < len(files); i += 2 {
		put(r.t, filepath.Join(r.work, files[i]), files[i+1])
	}
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", subject)
	return r.push()
}

func (r *gitRepo) push() string {
	r.t.Helper()
	r.git("push", "-q", "--force", "origin", "HEAD")
	return r.git("rev-parse", "HEAD")
}

// httpGit serves a repository by git's own http-backend, behind a password.
type httpGit struct {
	*httptest.Server
	addr  string
	token atomic.Value
	asked atomic.Int64 // requests for packs
	h     http.Handler
}

func serveHTTP(t *testing.T, r *gitRepo) *httpGit {
	t.Helper()
	bin, err := exec.LookPath("git")
	must(t, err)
	s := &httpGit{}
	s.token.Store("token-1")
	backend := &cgi.Handler{
		Path: bin, Args: []string{"http-backend"}, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(r.bare), "GIT_HTTP_EXPORT_ALL=1"},
	}
	s.h = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, password, _ := req.BasicAuth(); password != s.token.Load() {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if req.Method == http.MethodPost {
			s.asked.Add(1)
		}
		backend.ServeHTTP(w, req)
	})
	s.Server = httptest.NewServer(s.h)
	s.addr = s.Listener.Addr().String()
	t.Cleanup(func() { s.Server.Close() })
	return s
}

// back comes up again at the address that it had.
func (s *httpGit) back(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", s.addr)
	must(t, err)
	again := httptest.NewUnstartedServer(s.h)
	must(t, again.Listener.Close())
	again.Listener = l
	again.Start()
	s.Server = again
}

// login writes a file with credentials for the server.
func (s *httpGit) login(t *testing.T, path, token string) {
	t.Helper()
	put(t, path, fmt.Sprintf("# fleet\nhttps://u:p@elsewhere.example\nhttp://reader:%s@%s\n", token, s.addr))
}

// sshGit serves repositories by SSH to one key.
type sshGit struct {
	addr   string
	host   ssh.Signer
	client string // file of the client's private key
}

func serveSSH(t *testing.T) *sshGit {
	t.Helper()
	s := &sshGit{host: newSigner(t, ""), client: filepath.Join(t.TempDir(), "key")}
	client := newSigner(t, s.client)
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), client.PublicKey().Marshal()) {
			return nil, fmt.Errorf("no such key")
		}
		return nil, nil
	}}
	cfg.AddHostKey(s.host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.addr = l.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serveSSHConn(c, cfg) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return s
}

func serveSSHConn(c net.Conn, cfg *ssh.ServerConfig) {
	defer func() { _ = c.Close() }()
	conn, chans, reqs, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	go ssh.DiscardRequests(reqs)
	for nc := range chans {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		for req := range reqs {
			var exec struct{ Command string }
			if req.Type != "exec" || ssh.Unmarshal(req.Payload, &exec) != nil {
				_ = req.Reply(false, nil)
				continue
			}
			_ = req.Reply(true, nil)
			code := uploadPack(ch, exec.Command)
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
			_ = ch.Close()
		}
	}
}

func uploadPack(ch ssh.Channel, command string) uint32 {
	path, ok := strings.CutPrefix(command, "git-upload-pack '")
	if !ok {
		return 1
	}
	cmd := exec.Command("git", "upload-pack", strings.TrimSuffix(path, "'"))
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return 1
	}
	go func() { // as sshd: the end of the process counts, not that of its input
		_, _ = io.Copy(in, ch)
		_ = in.Close()
	}()
	if cmd.Wait() != nil {
		return 128
	}
	return 0
}
