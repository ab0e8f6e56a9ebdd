package envcache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"agentctl/envcache/internal/talk"
	"agentctl/internal/fsx"
)

// probeScript prints what is asked of an interpreter. It runs on Python 3.6 and
// later, with -I.
const probeScript = `
import glob, importlib.util, json, os, platform, site, sys, sysconfig
def libc():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""
v = sysconfig.get_config_var
wheel = ""
dirs = [os.path.join(sysconfig.get_path("stdlib"), "ensurepip", "_bundled"), v("WHEEL_PKG_DIR") or "", "/usr/share/python-wheels"]
for d in dirs:
    found = sorted(glob.glob(os.path.join(d, "pip-*.whl"))) if d else []
    if found and not wheel:
        wheel = found[-1]
spec = importlib.util.find_spec("pip")
print(json.dumps(dict(
    executable=sys.executable, version=platform.python_version(), implementation=sys.implementation.name,
    abi=v("SOABI") or sys.implementation.cache_tag or "", platform=sysconfig.get_platform(),
    libc=libc() or ("musl" if "musl" in (v("HOST_GNU_TYPE") or "") else "unknown libc"),
    prefix=sys.prefix, basePrefix=sys.base_prefix, build=" ".join(sys.version.split()),
    sites=site.getsitepackages(), pipWheel=wheel,
    pipFolder=os.path.dirname(os.path.dirname(spec.origin)) if spec and spec.origin else "")))
`

// identity tells whether a file is still the one that was probed.
type identity struct {
	Path  string `json:"path"`
	Inode uint64 `json:"inode"`
	MTime int64  `json:"mtime"` // ns
	Size  int64  `json:"size"`
	UID   int    `json:"uid"` // who ran the probe: not everybody may run everything
}

func identify(path string, uid int) (identity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return identity{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return identity{}, &fs.PathError{Op: "probe", Path: path, Err: errors.New("no regular file")}
	}
	return identity{path, st.Ino, info.ModTime().UnixNano(), info.Size(), uid}, nil
}

type probed struct {
	ID     identity    `json:"id"`
	Python Interpreter `json:"python"`
}

// prober asks interpreters about themselves, each once. What it learned is kept
// in memory and in a file.
type prober struct {
	exec Exec
	env  []string
	file string
	now  func() time.Time

	mu     sync.Mutex
	known  map[identity]Interpreter
	failed map[identity]failure
}

// failure is a probe that failed. It is remembered for a short time only: a
// folder's permissions may change without a trace in the file's identity.
type failure struct {
	until time.Time
	err   error
}

const (
	failureAge   = time.Minute
	probeTimeout = 30 * time.Second
	mostProbed   = 200
)

func newProber(file string, exec Exec, env []string) *prober {
	p := &prober{exec: exec, env: env, file: file, now: time.Now, known: map[identity]Interpreter{}, failed: map[identity]failure{}}
	var old []probed
	if fsx.ReadJSON(file, &old) == nil { // a damaged file only costs new probes
		for _, o := range old {
			p.known[o.ID] = o.Python
		}
	}
	return p
}

// probe describes the interpreter at path, as the user who is to run it.
func (p *prober) probe(ctx context.Context, path string, uid, gid int) (Interpreter, error) {
	uid, gid = owner(uid, gid)
	id, err := identify(path, uid)
	if err != nil {
		return Interpreter{}, err
	}
	return p.once(ctx, id, func() (Interpreter, error) { return p.ask(ctx, path, uid, gid) })
}

// once asks an interpreter about itself, unless it was asked before.
func (p *prober) once(ctx context.Context, id identity, ask func() (Interpreter, error)) (Interpreter, error) {
	p.mu.Lock()
	py, ok := p.known[id]
	bad := p.failed[id]
	p.mu.Unlock()
	if ok {
		return py, nil
	}
	if p.now().Before(bad.until) {
		return Interpreter{}, bad.err
	}
	py, err := ask()
	if ctx.Err() != nil {
		return Interpreter{}, context.Cause(ctx)
	}
	return py, p.remember(id, py, err)
}

func (p *prober) ask(ctx context.Context, path string, uid, gid int) (Interpreter, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var out, errs bytes.Buffer
	exit, err := p.exec.Run(ctx, Cmd{
		Args: []string{path, "-I", "-c", probeScript}, Env: append(p.env[:len(p.env):len(p.env)], "HOME=/"), Dir: "/",
		UID: uid, GID: gid, Stdout: &out, Stderr: &errs,
	})
	if errors.Is(err, fs.ErrPermission) {
		return Interpreter{}, fs.ErrPermission
	}
	if err != nil {
		return Interpreter{}, err
	}
	if exit.Code != 0 {
		return Interpreter{}, fmt.Errorf("it does not run: %s", lastLine(errs.String(), fmt.Sprintf("exit status %d %s", exit.Code, exit.Signal)))
	}
	var py Interpreter
	if err := json.Unmarshal(out.Bytes(), &py); err != nil || py.Version == "" || py.Prefix == "" {
		return Interpreter{}, errors.New("it is no Python: it did not answer the probe")
	}
	py.Path = path
	if real, err := filepath.EvalSymlinks(path); err == nil && py.Prefix == py.BasePrefix {
		py.Path = real // one name for one interpreter; in a virtual environment the name decides
	}
	return py, nil
}

func lastLine(text, otherwise string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := talk.Clean(lines[len(lines)-1]); last != "" {
		return shorten(last)
	}
	return otherwise
}

func (p *prober) remember(id identity, py Interpreter, failed error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if failed != nil {
		p.failed[id] = failure{p.now().Add(failureAge), failed}
		return failed
	}
	for old := range p.known { // the file changed, or there are too many
		if old.Path == id.Path && old.UID == id.UID || len(p.known) >= mostProbed {
			delete(p.known, old)
		}
	}
	p.known[id] = py
	var all []probed
	for id, py := range p.known {
		all = append(all, probed{id, py})
	}
	// Not being able to remember is no reason not to go on.
	if err := os.MkdirAll(filepath.Dir(p.file), 0o755); err == nil {
		_ = fsx.WriteJSON(p.file, all, 0o600)
	}
	return nil
}
