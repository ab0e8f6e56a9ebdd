package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	mobyseccomp "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"agentctl/internal/fsx"
	"agentctl/runtime/internal/packet"
	"agentctl/runtime/internal/record"
)

// gatherFilter has the filter of system calls, in memory. libcontainer would make it
// anew in each sandbox, which takes four milliseconds: it makes one once, and the runner
// loads it before all else.
func (p *parts) gatherFilter(run *record.Run) (err error) {
	var data []byte
	if !run.Sandbox.Unconfined {
		if data, err = filter(p.exe, run.Sandbox.CapAdd); err != nil {
			// This kernel, or what holds the agent, does not let it be seen.
			p.unloaded, data = true, nil
		}
	}
	p.filter, err = packet.Memory(data)
	return err
}

// filter is the filter for processes with these capabilities, as runner.c takes it. One
// that was made before lies beside the program.
func filter(exe string, caps []string) ([]byte, error) {
	path, err := filterPath(exe, caps)
	if err != nil {
		return nil, err
	}
	if data, err := os.ReadFile(path); err == nil {
		if sum := sha256.Sum256(data[:max(len(data)-sha256.Size, 0)]); bytes.HasSuffix(data, sum[:]) {
			return data[:len(data)-sha256.Size], nil
		}
	}
	wanted, err := profile(caps)
	if err != nil {
		return nil, err
	}
	cfg, err := specconv.SetupSeccomp(wanted)
	if err != nil {
		return nil, fmt.Errorf("cannot make the filter of system calls: %w", err)
	}
	data, err := capture(cfg)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	// Where it can't be kept, each sandbox makes it.
	_ = fsx.ReplaceFile(path, append(slices.Clip(data), sum[:]...), 0o600)
	return data, nil
}

// filterPath names a filter by all that decides what is in it.
func filterPath(exe string, caps []string) (string, error) {
	var program unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &program); err != nil {
		return "", fmt.Errorf("cannot look at the own program: %w", err)
	}
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return "", fmt.Errorf("cannot tell the kernel's release: %w", err)
	}
	caps = slices.Clone(caps)
	slices.Sort(caps)
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %d %d %s %s %s %s", program.Ino, program.Size, program.Mtim.Nano(), program.Ctim.Nano(),
		kernel.Release[:], kernel.Version[:], kernel.Machine[:], strings.Join(caps, ",")))
	return filepath.Join(filepath.Dir(exe), "filter-"+hex.EncodeToString(sum[:8])), nil
}

// profile is the usual filter of system calls, for this machine's own architecture
// alone: the others cost ten times as long to build.
func profile(caps []string) (*specs.LinuxSeccomp, error) {
	of := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}, Linux: &specs.Linux{}}
	p, err := mobyseccomp.GetDefaultProfile(of)
	if err != nil {
		return nil, fmt.Errorf("cannot make the filter of system calls: %w", err)
	}
	if len(p.Architectures) == 0 {
		return nil, fmt.Errorf("there is no filter of system calls for %s", goruntime.GOARCH)
	}
	p.Architectures = p.Architectures[:1]
	return p, nil
}
