package envcache

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentctl/test/condakit"
)

// blackHole gives the URL of a server that takes every connection and never answers.
func blackHole(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "http://" + l.Addr().String() // the kernel takes them
}

// A build that hangs ends at its deadline with every manager: nothing of it runs on,
// and nothing is left.
func TestADeadlineEndsWhatHangs(t *testing.T) {
	t.Parallel()
	hole, py := blackHole(t), hostPython(t, SameUser)
	for name, open := range map[string]func(t *testing.T) (*Cache, Request){
		ManagerPip: func(t *testing.T) (*Cache, Request) {
			return newCache(t, Options{}), Request{Python: py, IndexURL: hole, Requirements: []string{"here"}}
		},
		ManagerUV: func(t *testing.T) (*Cache, Request) { return newUVCache(t, Options{}), uvRequest(t, hole, "here") },
		ManagerPoetry: func(t *testing.T) (*Cache, Request) {
			c, x := poetryCache(t, Options{}), poetryIndex(t)
			req := poetryRequest(t, x, lockedProject(t, c, x, map[string]string{"pyproject.toml": poetryDemo}))
			req.IndexURL = hole
			return c, req
		},
		ManagerConda: func(t *testing.T) (*Cache, Request) {
			return condaCache(t, SameUser, Options{}), condaRequest(condakit.Build(t), hole+"/main").conda("six")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, req := open(t)
			req.UID, req.GID, req.Timeout = SameUser, SameUser, 10*time.Second
			if _, err := c.Acquire(t.Context(), req, nil); err == nil || !strings.Contains(err.Error(), "the build took longer than 10s") {
				t.Errorf("err = %v", err)
			}
			if bad := litter(t, c.state); bad != nil {
				t.Errorf("left over: %v", bad)
			}
			programs, err := filepath.Glob("/proc/[0-9]*/environ")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range programs {
				if env, err := os.ReadFile(p); err == nil && strings.Contains(string(env), c.state) {
					t.Errorf("%s still runs", filepath.Dir(p))
				}
			}
		})
	}
}
