package gpu

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"agentctl/runtime"

	"github.com/samber/lo"
)

// Edits are what a sandbox gets so that programs in it can use GPUs.
type Edits struct {
	Devices []runtime.Device
	Mounts  []runtime.Mount
	Env     []string // KEY=VALUE
}

// add takes over what e has not yet.
func (e *Edits) add(more Edits) {
	e.Devices = lo.UniqBy(append(e.Devices, more.Devices...), func(d runtime.Device) string { return d.At() })
	e.Mounts = lo.UniqBy(append(e.Mounts, more.Mounts...), func(m runtime.Mount) string { return m.Target })
	e.Env = lo.UniqBy(append(e.Env, more.Env...), func(kv string) string { name, _, _ := strings.Cut(kv, "="); return name })
}

// Libraries is the folder of libraries among the mounts, "" if there is none.
func (e Edits) Libraries() string {
	if slices.ContainsFunc(e.Mounts, func(m runtime.Mount) bool { return filepath.Dir(m.Target) == Folder }) {
		return Folder
	}
	return ""
}

// control are the nodes that all GPUs share. The first two are needed to compute, the
// others if there are.
var control = []string{"nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"}

const neededControl = 2

// Give says what a sandbox needs to use the given devices, indices or UUIDs, and no
// others: by a specification of the Container Device Interface that names them, else by
// what the driver says.
func (s State) Give(devices []string) (Edits, error) {
	var out Edits
	byDriver := false
	for _, device := range devices {
		g, seen := lo.Find(s.GPUs, func(g GPU) bool { return g.Is(device) })
		names := []string{device}
		if seen { // an index may be another GPU's since the specification was written
			names = []string{g.UUID, strconv.Itoa(g.Index)}
		}
		if e, ok := s.cdi.find(names...); ok {
			out.add(e)
			continue
		}
		switch {
		case strings.HasPrefix(device, "MIG-"):
			return Edits{}, fmt.Errorf("cannot show gpu %s in a sandbox: an instance of MIG needs a CDI specification that names it (nvidia-ctk cdi generate --device-name-strategy=uuid)%s", device, s.unusable())
		case !seen || g.Minor < 0:
			return Edits{}, fmt.Errorf("cannot show gpu %s in a sandbox: NVML does not tell its device node (%s), and no CDI specification names it%s", device, s.why(), s.unusable())
		}
		node := "nvidia" + strconv.Itoa(g.Minor)
		out.add(Edits{Devices: []runtime.Device{s.node(node)}})
		byDriver = true
	}
	out.Mounts = slices.DeleteFunc(out.Mounts, gone)
	if !byDriver {
		return out, nil
	}
	for i, name := range control {
		if _, err := os.Stat(filepath.Join(s.dev, name)); err == nil {
			out.add(Edits{Devices: []runtime.Device{s.node(name)}})
		} else if i < neededControl {
			return Edits{}, fmt.Errorf("cannot show a GPU in a sandbox: there is no %s: have the driver make it, with nvidia-modprobe -u -c=0", filepath.Join(s.dev, name))
		}
	}
	out.add(Edits{Mounts: s.files})
	return out, nil
}

// gone tells of the socket of a service that has ended since the specification was read,
// which a sandbox can do without.
func gone(m runtime.Mount) bool {
	_, err := os.Lstat(m.Source)
	return err != nil && filepath.Dir(m.Target) != Folder
}

// unusable is what is wrong with a specification, as the end of a sentence.
func (s State) unusable() string {
	if _, problem := s.CDI(); problem != "" {
		return "; " + problem
	}
	return ""
}

func (s State) node(name string) runtime.Device {
	return runtime.Device{Path: filepath.Join(s.dev, name), Target: "/dev/" + name, Access: "rw"}
}

func (s State) why() string {
	if s.Problem != "" {
		return s.Problem
	}
	return fmt.Sprintf("it shows %d", len(s.GPUs))
}

// CDI is how many GPUs specifications name, and what is wrong with one of them.
func (s State) CDI() (names int, problem string) {
	if s.cdi == nil {
		return 0, ""
	}
	return len(s.cdi.devices), s.cdi.problem
}

// Libraries is how many files of the driver a sandbox is shown where no specification
// tells.
func (s State) Libraries() int { return len(s.files) }
