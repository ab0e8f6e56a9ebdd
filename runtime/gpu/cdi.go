package gpu

import (
	"cmp"
	"debug/elf"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/runtime"

	"github.com/samber/lo"
	cdilib "tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/specs-go"
)

// usualCDI are where `nvidia-ctk cdi generate` and the driver's own service write.
var usualCDI = cdilib.DefaultSpecDirs

// cdiKind is that of NVIDIA's GPUs.
const cdiKind = "nvidia.com/gpu"

// cdi holds what specifications say of NVIDIA's GPUs.
type cdi struct {
	devices map[string]Edits // by their names: indices, UUIDs
	problem string           // of a specification that can't be read
}

// readCDI reads the specifications in folders. Of them device nodes, mounts and
// variables are used; their hooks, programs that a runtime of containers calls as root
// with what an image says in the environment, are not run.
func readCDI(folders []string) *cdi {
	out := &cdi{devices: map[string]Edits{}}
	cache, err := cdilib.NewCache(cdilib.WithAutoRefresh(false), cdilib.WithSpecDirs(folders...))
	if err != nil {
		out.problem = err.Error()
		return out
	}
	for path, errs := range cache.GetErrors() {
		if len(errs) > 0 && out.problem == "" {
			out.problem = fmt.Sprintf("%s: %v", path, errs[0])
		}
	}
	for _, qualified := range cache.ListDevices() {
		name, ours := strings.CutPrefix(qualified, cdiKind+"=")
		device := cache.GetDevice(qualified)
		if !ours || device == nil {
			continue
		}
		e := editsOf(device.ContainerEdits)
		e.add(editsOf(device.GetSpec().ContainerEdits))
		out.devices[name] = e
	}
	return out
}

// find gives what the first of the names that is known needs.
func (c *cdi) find(names ...string) (Edits, bool) {
	if c == nil {
		return Edits{}, false
	}
	for _, name := range names {
		if e, ok := c.devices[name]; ok && name != "" {
			return e, true
		}
	}
	return Edits{}, false
}

func editsOf(c specs.ContainerEdits) Edits {
	var e Edits
	for _, d := range c.DeviceNodes {
		access := lo.Ternary(d.Permissions == "", "rw", strings.ReplaceAll(d.Permissions, "m", "")) // nobody makes nodes
		e.Devices = append(e.Devices, runtime.Device{Path: cmp.Or(d.HostPath, d.Path), Target: d.Path, Access: access})
	}
	for _, m := range c.Mounts {
		real, err := filepath.EvalSymlinks(m.HostPath)
		if err != nil { // as a socket of a service that does not run
			continue
		}
		if names := libraryNames(real); len(names) > 0 {
			for _, name := range names {
				e.Mounts = append(e.Mounts, runtime.Mount{Source: real, Target: filepath.Join(Folder, name), ReadOnly: true})
			}
			continue
		}
		e.Mounts = append(e.Mounts, runtime.Mount{Source: real, Target: filepath.Clean(m.ContainerPath), ReadOnly: !slices.Contains(m.Options, "rw")})
	}
	for _, kv := range c.Env {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasSuffix(name, "_VISIBLE_DEVICES") && !strings.HasPrefix(name, "LD_") { // which the worker says
			e.Env = append(e.Env, kv)
		}
	}
	return e
}

// libraryNames are the names by which programs find a library: the one that it has in
// itself, for which ldconfig would make a link, and the plain one. None if it is no
// library.
func libraryNames(path string) []string {
	base, _, ok := strings.Cut(filepath.Base(path), ".so.")
	if !ok {
		return nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	names, err := f.DynString(elf.DT_SONAME)
	if err != nil || len(names) != 1 || filepath.Base(names[0]) != names[0] {
		return nil
	}
	return lo.Uniq([]string{names[0], base + ".so"})
}
