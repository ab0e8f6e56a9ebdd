package dockerargs

import (
	"slices"
	"strings"

	"github.com/samber/lo"
)

// option is one option of docker run.
type option struct {
	names []string // without dashes; of one letter is a short one
	flag  bool     // takes no value
	quiet bool     // its value may be a secret, so that no message has it
	named bool     // a quiet value without = is a name
	// parse reads a value. A zero Request asks for nothing.
	parse   func(value string) (Request, error)
	example string // of a value
}

// argument is the option with its value, for messages.
func (o *option) argument(name, value string) string {
	switch {
	case o.flag:
		return name
	case o.quiet:
		key, _, has := strings.Cut(value, "=")
		switch {
		case key == "" || !has && !o.named:
			return name
		case has:
			value = key + "=…"
		}
	}
	return argument(name, value)
}

const (
	noKey     = "no key of spec.sandbox.allow allows it"
	leaveOut  = "leave it out"
	isolation = "would take away what parts the task from the host"
)

// options are all of docker run, by what they become.
var options = slices.Concat(fileOptions, networkOptions, limitOptions, identityOptions, isolationOptions, plainOptions)

var byName = lo.FromEntries(lo.FlatMap(options, func(o option, _ int) []lo.Entry[string, *option] {
	return lo.Map(o.names, func(name string, _ int) lo.Entry[string, *option] {
		return lo.Entry[string, *option]{Key: name, Value: &o}
	})
}))

var isolationOptions = slices.Concat(
	denied(isolation, noKey, "device-cgroup-rule", "cgroup-parent", "sysctl", "isolation", "annotation"),
	denied("is for other containers or volumes of Docker, and there are none here", leaveOut, "volumes-from", "volume-driver", "link"),
	[]option{
		toggle(denial("would give the task the host", noKey), "privileged"),
		toggle(denial("would give the task the control socket of a container engine", noKey), "use-api-socket"),
		toggle(denial("would let a task without memory stop the machine", noKey), "oom-kill-disable"),
		{names: []string{"security-opt"}, parse: securityOpt, example: "no-new-privileges"},
		{names: []string{"pid"}, parse: private("", "private")},
		{names: []string{"uts"}, parse: private("", "private")},
		{names: []string{"cgroupns"}, parse: private("", "private")},
		{names: []string{"userns"}, parse: private("")},
		{names: []string{"ipc"}, parse: ipc, example: "private"},
		{names: []string{"runtime"}, parse: containerRuntime, example: "nvidia"},
		{names: []string{"cap-add"}, parse: capability(KindCapAdd), example: "SYS_PTRACE"},
		{names: []string{"cap-drop"}, parse: capability(KindFree), example: "NET_RAW"},
		{names: []string{"device"}, parse: device, example: "/dev/fuse:/dev/fuse:rw"},
		{names: []string{"gpus"}, parse: gpus, example: "all"},
	},
	denied("would be read from a file of the host", "write its lines as options", "env-file", "label-file"),
	denied("would be written to a file of the host", leaveOut, "cidfile"),
)

// plainOptions are those without an effect here.
var plainOptions = slices.Concat(
	[]option{
		toggle(ignored(""), "rm"), toggle(ignored(""), "i", "interactive"), toggle(ignored(""), "t", "tty"),
		toggle(ignored(""), "d", "detach"), toggle(ignored(""), "q", "quiet"), toggle(ignored(""), "init"),
		toggle(ignored(""), "sig-proxy"), toggle(ignored(""), "no-healthcheck"), toggle(ignored(""), "disable-content-trust"),
	},
	unused("a task is watched by agentctl", "health-cmd", "health-interval", "health-retries", "health-timeout", "health-start-period", "health-start-interval"),
	unused("a task has no name or label as a container", "name", "l", "label"),
	unused("the console of a task goes to the server", "log-driver", "log-opt", "a", "attach", "detach-keys"),
	unused("whether a task runs again is up to its server", "restart"),
	unused("spec.sandbox.pull says when images are pulled", "pull"),
	unused("spec.workers[].stopGrace says how a task is stopped", "stop-signal", "stop-timeout"),
	unused("a task is started by agentctl, not by an entry point", "entrypoint"),
	unused("memory is limited as a whole", "memory-reservation", "memory-swappiness", "kernel-memory"),
	unused("the domain is no part of the host name here", "domainname"),
	denied("is for Windows", leaveOut, "cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"),
	denied("is not supported here", leaveOut, "cpu-rt-period", "cpu-rt-runtime", "cpuset-mems", "storage-opt", "blkio-weight-device", "umask",
		"device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops"),
)

func ignored(note string) func(string) (Request, error) {
	return func(string) (Request, error) { return Request{Kind: KindIgnored, Note: note}, nil }
}

func denial(why, fix string) func(string) (Request, error) {
	return func(string) (Request, error) { return Request{Kind: KindDenied, Note: why, Fix: fix}, nil }
}

// toggle is an option without a value; one that is switched off asks for nothing.
func toggle(parse func(string) (Request, error), names ...string) option {
	return option{names: names, flag: true, parse: func(value string) (Request, error) {
		on, err := parseBool(value)
		if err != nil || !on {
			return Request{}, err
		}
		return parse(value)
	}}
}

func denied(why, fix string, names ...string) []option {
	return lo.Map(names, func(name string, _ int) option {
		return option{names: []string{name}, quiet: true, parse: denial(why, fix)}
	})
}

func unused(note string, names ...string) []option {
	return lo.Map(names, func(name string, _ int) option {
		return option{names: []string{name}, quiet: true, parse: ignored(note)}
	})
}
