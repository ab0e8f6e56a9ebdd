package dockerargs

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/cli/opts"
)

func parseBool(value string) (bool, error) {
	on, err := strconv.ParseBool(value)
	if err != nil {
		return false, fault{"is neither true nor false", "write it without a value"}
	}
	return on, nil
}

// private accepts only what leaves a namespace the task's own.
func private(allowed ...string) func(string) (Request, error) {
	return func(value string) (Request, error) {
		if slices.Contains(allowed, value) {
			return Request{Kind: KindIgnored}, nil
		}
		return denial(isolation, noKey)(value)
	}
}

func ipc(value string) (Request, error) {
	if value == "host" {
		return Request{Kind: KindIPC, Settings: Settings{HostIPC: true}}, nil
	}
	return private("", "private", "shareable")(value)
}

// securityOpt: the one that takes something away is always on; all others give.
func securityOpt(value string) (Request, error) {
	switch value {
	case "no-new-privileges", "no-new-privileges:true", "no-new-privileges=true":
		return Request{Kind: KindIgnored}, nil
	}
	return denial(isolation, noKey)(value)
}

func containerRuntime(value string) (Request, error) {
	switch value {
	case "nvidia":
		return Request{Kind: KindIgnored, Note: "the GPUs of a task are those of its worker"}, nil
	case "runc", "crun", "io.containerd.runc.v2":
		return Request{Kind: KindIgnored}, nil
	}
	return Request{}, fault{"is a runtime that is not here", leaveOut}
}

var capabilityForm = regexp.MustCompile(`^(ALL|CAP_[A-Z_]{3,30})$`)

func capability(kind Kind) func(string) (Request, error) {
	return func(value string) (Request, error) {
		name := opts.NormalizeCapability(value)
		if !capabilityForm.MatchString(name) {
			return Request{}, fault{"is no capability", "write its name, as SYS_PTRACE"}
		}
		if kind == KindCapAdd {
			return Request{Kind: kind, Settings: Settings{CapAdd: []string{name}}}, nil
		}
		return Request{Kind: kind, Settings: Settings{CapDrop: []string{name}}}, nil
	}
}

// deviceForm is where device nodes may be, on the host and in the sandbox.
var deviceForm = regexp.MustCompile(`^/dev(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$`)

// device reads PATH[:PATH][:rwm]. A name of the container device interface, as
// nvidia.com/gpu=0, has no slash in front.
func device(value string) (Request, error) {
	if vendor, _, ok := strings.Cut(value, "="); ok && !strings.HasPrefix(value, "/") {
		if vendor == "nvidia.com/gpu" || vendor == "amd.com/gpu" {
			return gpuNote, nil
		}
		return denial("is a device of no kind that is known here", "name its node, as /dev/NAME")(value)
	}
	parts := strings.Split(value, ":")
	d := Device{Path: parts[0], InContainer: parts[0], Permissions: "rw"}
	permissions := ""
	switch len(parts) {
	case 1:
	case 2:
		if strings.HasPrefix(parts[1], "/") {
			d.InContainer = parts[1]
		} else {
			permissions = parts[1]
		}
	case 3:
		d.InContainer, permissions = parts[1], parts[2]
	default:
		return Request{}, fault{"has too many colons", "write PATH:PATH:rw"}
	}
	if len(parts) > 1 && permissions != "" || len(parts) == 3 {
		if permissions == "" || strings.Trim(permissions, "rwm") != "" || len(permissions) > 3 {
			return Request{}, fault{"has other permissions than r, w and m", "write PATH:PATH:rw"}
		}
		// Nobody makes device nodes in a sandbox.
		d.Permissions = ""
		for _, letter := range []string{"r", "w"} {
			if strings.Contains(permissions, letter) {
				d.Permissions += letter
			}
		}
		if d.Permissions == "" {
			return Request{}, fault{"gives neither reading nor writing, and nobody makes device nodes in a sandbox", "write PATH:PATH:rw"}
		}
	}
	for _, path := range []string{d.Path, d.InContainer} {
		if !deviceForm.MatchString(path) {
			return Request{}, fault{"is no device below /dev", "write the whole path, as /dev/NAME"}
		}
	}
	return Request{Kind: KindDevice, Settings: Settings{Devices: []Device{d}}}, nil
}

var gpuNote = Request{Kind: KindIgnored, Note: "the GPUs of a task are those of its worker, by spec.workers[].gpus"}

// gpus: a worker's slots decide, so that no task takes the GPU of another.
func gpus(value string) (Request, error) {
	var o opts.GpuOpts
	// ClearML's own agent quotes the value once more than docker wants it.
	if err := o.Set(strings.Trim(value, `"`)); err != nil {
		return Request{}, err
	}
	return gpuNote, nil
}
