package dockerargs

import (
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/mount"
)

var fileOptions = []option{
	{names: []string{"e", "env"}, quiet: true, named: true, parse: variable, example: "NAME=VALUE"},
	{names: []string{"v", "volume"}, parse: volume, example: "/data/set:/data/set:ro"},
	{names: []string{"mount"}, parse: mountOption, example: "type=bind,source=/data/set,target=/data/set,readonly"},
	{names: []string{"tmpfs"}, parse: tmpfs, example: "/scratch:size=1g"},
	{names: []string{"shm-size"}, parse: size(KindShmSize, func(s *Settings, n int64) { s.ShmSize = n }), example: "8g"},
	toggle(func(string) (Request, error) {
		return Request{Kind: KindFree, Settings: Settings{ReadOnlyRoot: true}}, nil
	}, "read-only"),
	{names: []string{"w", "workdir"}, parse: workdir, example: "/workspace"},
}

var variableForm = regexp.MustCompile(`^[^=\s\x00-\x1f\x7f]+$`)

// variable must not use Docker's own reading of NAME alone: that looks it up in the
// environment of this process, which is the agent's.
func variable(value string) (Request, error) {
	name, text, has := strings.Cut(value, "=")
	if len(name) > 255 || !variableForm.MatchString(name) {
		return Request{}, fault{"is no variable", "write it as NAME=VALUE"}
	}
	return Request{Kind: KindEnv, Settings: Settings{Env: []Env{{Name: name, Value: text, FromHost: !has}}}}, nil
}

// volume reads SOURCE:TARGET[:OPTIONS]. Docker's own parser of it is internal.
func volume(value string) (Request, error) {
	parts := strings.Split(value, ":")
	if len(parts) == 1 && isTarget(parts[0]) {
		return Request{Kind: KindIgnored, Note: "all that a task writes outside of its mounts is its own, and gone after it"}, nil
	}
	if len(parts) > 3 || len(parts) < 2 {
		return Request{}, fault{"is not of the form SOURCE:TARGET or SOURCE:TARGET:ro", "write it so"}
	}
	m, writable := Mount{Source: parts[0], Target: parts[1]}, false
	if len(parts) == 3 {
		for o := range strings.SplitSeq(parts[2], ",") {
			switch o {
			case "ro":
				m.ReadOnly = true
			case "rw":
				writable = true
			case "z", "Z", "cached", "delegated", "consistent", "nocopy", "private", "rprivate":
			default:
				return Request{}, fault{"has the option " + plain(o) + ", which is not supported here", "write ro, rw or no option"}
			}
		}
	}
	if m.ReadOnly && writable {
		return Request{}, fault{"is ro and rw", "write one of them"}
	}
	return bind(m, writable)
}

var volumeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// bind checks the paths of a mount of the host.
func bind(m Mount, writable bool) (Request, error) {
	switch {
	case volumeForm.MatchString(m.Source):
		return Request{}, fault{"names a volume, and there are none here", "name a folder of the host, or write --tmpfs"}
	case !strings.HasPrefix(m.Source, "/"):
		return Request{}, fault{"has a source that is not an absolute path", "write the whole path"}
	case !isTarget(m.Target):
		return Request{}, fault{"has a target that is not an absolute path below /", "write the whole path"}
	}
	m.Source, m.Target = path.Clean(m.Source), path.Clean(m.Target)
	return Request{Kind: KindMount, Settings: Settings{Mounts: []Mount{m}}, Writable: writable}, nil
}

// isTarget says whether something may be mounted there in a sandbox. What climbs up
// with .. is refused, not cleaned: nobody means it.
func isTarget(target string) bool {
	return strings.HasPrefix(target, "/") && path.Clean(target) != "/" && len(target) < 4096 && !strings.Contains(target+"/", "/../")
}

func mountOption(value string) (Request, error) {
	var o opts.MountOpt
	if err := o.Set(value); err != nil {
		return Request{}, err
	}
	m := o.Value()[0]
	switch {
	case m.Type == mount.TypeTmpfs:
		t := Mount{Target: m.Target, ReadOnly: m.ReadOnly}
		if m.TmpfsOptions != nil {
			t.Size, t.Mode = m.TmpfsOptions.SizeBytes, m.TmpfsOptions.Mode
		}
		return tmpfsMount(t)
	case m.Type != mount.TypeBind:
		return Request{}, fault{"is of a type other than bind and tmpfs", "write type=bind or type=tmpfs"}
	case !strings.Contains(value, m.Source): // Docker has made a relative path absolute, from the agent's folder
		return Request{}, fault{"has a source that is not an absolute path", "write the whole path"}
	}
	if b := m.BindOptions; b != nil {
		p := b.Propagation
		b.Propagation = ""
		if *b != (mount.BindOptions{}) || p != "" && p != mount.PropagationPrivate && p != mount.PropagationRPrivate {
			return Request{}, fault{"has a bind-… option that is not supported here", leaveOut}
		}
	}
	return bind(Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}, false)
}

// tmpfs reads TARGET[:OPTIONS], of those of mount(8) that give nothing to escape by.
func tmpfs(value string) (Request, error) {
	target, list, _ := strings.Cut(value, ":")
	m := Mount{Target: target}
	for o := range strings.SplitSeq(list, ",") {
		key, v, _ := strings.Cut(o, "=")
		var err error
		switch key {
		case "", "rw", "noexec", "nosuid", "nodev", "noatime":
		case "ro":
			m.ReadOnly = true
		case "exec":
			m.Exec = true
		case "size":
			m.Size, err = units.RAMInBytes(v)
		case "mode":
			m.Mode, err = mode(v)
		default:
			err = fault{"has the option " + plain(key) + ", which is not supported here", "write size=, mode=, ro or exec"}
		}
		if err != nil {
			return Request{}, err
		}
	}
	return tmpfsMount(m)
}

func mode(octal string) (os.FileMode, error) {
	n, err := strconv.ParseUint(octal, 8, 12)
	if err != nil || n > 0o1777 {
		return 0, fault{"has a mode that is not of 0 to 1777", "write it in octal digits"}
	}
	return os.FileMode(n), nil
}

func tmpfsMount(m Mount) (Request, error) {
	switch {
	case !isTarget(m.Target):
		return Request{}, fault{"has a target that is not an absolute path below /", "write the whole path"}
	case m.Size < 0:
		return Request{}, fault{"has a size that is out of range", "write it as 1g"}
	case m.Mode&^0o1777 != 0:
		return Request{}, fault{"has a mode that is not of 0 to 1777", "write it in octal digits"}
	}
	m.Target = path.Clean(m.Target)
	return Request{Kind: KindTmpfs, Settings: Settings{Mounts: []Mount{m}}}, nil
}

func workdir(value string) (Request, error) {
	if value != "/" && !isTarget(value) {
		return Request{}, fault{"is not an absolute path", "write the whole path"}
	}
	return Request{Kind: KindFree, Settings: Settings{WorkingDir: path.Clean(value)}}, nil
}
