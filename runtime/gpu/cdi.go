package gpu

import (
	"cmp"
	"debug/elf"
	"fmt"
	"maps"
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
	problem string           // of a specification that can't be used, or of a part of it
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
	failed := cache.GetErrors()
	for _, path := range slices.Sorted(maps.Keys(failed)) {
		if errs := failed[path]; len(errs) > 0 {
			out.problem = cmp.Or(out.problem, fmt.Sprintf("%s: %v", path, errs[0]))
		}
	}
	for _, qualified := range cache.ListDevices() {
		name, ours := strings.CutPrefix(qualified, cdiKind+"=")
		device := cache.GetDevice(qualified)
		if !ours || device == nil {
			continue
		}
		e, lacks := editsOf(device.ContainerEdits)
		common, more := editsOf(device.GetSpec().ContainerEdits)
		if lacks = cmp.Or(lacks, more); lacks != "" {
			// Of another version of the driver: a sandbox would show a GPU that no
			// program in it could use.
			out.problem = cmp.Or(out.problem, fmt.Sprintf("%s: it names %s, which is not there", device.GetSpec().GetPath(), lacks))
			continue
		}
		e.add(common)
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

// editsOf are what of c is used; lacks is a library that it names and that is not there.
func editsOf(c specs.ContainerEdits) (e Edits, lacks string) {
	for _, d := range c.DeviceNodes {
		access := lo.Ternary(d.Permissions == "", "rw", strings.ReplaceAll(d.Permissions, "m", "")) // nobody makes nodes
		e.Devices = append(e.Devices, runtime.Device{Path: cmp.Or(d.HostPath, d.Path), Target: d.Path, Access: access})
	}
	for _, m := range c.Mounts {
		real, err := filepath.EvalSymlinks(m.HostPath)
		if err != nil { // as a socket of a service that does not run
			if isLibrary(m.HostPath) {
				lacks = cmp.Or(lacks, m.HostPath)
			}
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
	return e, lacks
}

// isLibrary tells it by the name: libNAME.so.VERSION.
func isLibrary(path string) bool { return strings.Contains(filepath.Base(path), ".so.") }

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
