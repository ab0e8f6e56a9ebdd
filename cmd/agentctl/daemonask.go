package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentctl/internal/argparse"
	"agentctl/spec"

	"github.com/samber/lo"
	"github.com/spf13/pflag"
)

// daemonRun is what one command line asks for.
type daemonRun struct {
	*app
	queues           []string
	fair, create     bool
	sandbox          bool
	image            string
	arguments        []string // of docker run
	gpus             string
	cpuOnly, dynamic bool
	services         int // 0: off, -1: no limit
	foreground       bool
	stop             bool
	ids              []string // to stop
	status, print    bool
	poll             time.Duration
	uptime, downtime []string
	standalone       bool
	tags             []string
	gitUser, gitPass string
	logLevel         string
	optimize         int
	config           string
	timeout          time.Duration
	agent            agentFlags
	command          string   // as it was typed, without secrets
	says             []string // what is told of the flags
}

// daemonOf reads the flags, which cobra has.
func (a *app) daemonOf(flags *pflag.FlagSet) (*daemonRun, error) {
	d := &daemonRun{app: a, agent: agentFlags{serverListen: defaultListen}}
	words := func(name string) []string {
		list, _ := flags.GetStringArray(name)
		return lo.Without(list, leftOut)
	}
	word := func(name string) string {
		v, _ := flags.GetString(name)
		return v
	}
	on := func(name string) bool {
		v, _ := flags.GetBool(name)
		return v
	}
	d.queues, d.fair, d.create = words("queue"), on("order-fairness"), on("create-queue")
	d.gpus, d.cpuOnly, d.dynamic = word("gpus"), on("cpu-only"), on("dynamic-gpus")
	d.foreground, d.status, d.print, d.standalone = on("foreground"), on("status"), on("print"), on("standalone-mode")
	d.stop, d.ids = flags.Changed("stop"), words("stop")
	d.uptime, d.downtime, d.tags = words("uptime"), words("downtime"), words("child-report-tags")
	d.gitUser, d.gitPass, d.config = word("git-user"), word("git-pass"), word("config-file")
	d.optimize, _ = flags.GetCount("optimize")
	d.agent.name = word("node-name")
	if at := word("server-listen"); at != "" {
		d.agent.serverListen = at
	}
	d.command = typed(flags)
	for _, f := range daemonFlags {
		if !flags.Changed(flagName(f)) || f.Says == "" || flagName(f) == "git-pass" && d.gitPass == a.Getenv("AGENTCTL_GIT_PASS") {
			continue // the last was not on the command line
		}
		if f.Verdict == flagDenied {
			return nil, usagef("%s", f.Says)
		}
		d.says = append(d.says, f.Says)
	}
	return d, errors.Join(d.container(flags, words), d.numbers(flags, word), d.fits())
}

// container reads --docker and --podman: an image, and arguments of docker run.
func (d *daemonRun) container(flags *pflag.FlagSet, words func(string) []string) error {
	docker, podman := words("docker"), words("podman")
	if len(docker) > 0 && len(podman) > 0 && !slices.Equal(docker, podman) {
		return usagef("--docker and --podman name two containers; give one of them")
	}
	d.sandbox = flags.Changed("docker") || flags.Changed("podman")
	text := strings.Join(append(docker, podman...), " ")
	if len(docker) > 0 {
		text = strings.Join(docker, " ")
	}
	all, err := split(text)
	if err != nil {
		return err
	}
	if len(all) > 0 && strings.HasPrefix(all[0], "-") {
		return usagef("--docker names the image first, as --docker \"IMAGE ARGS\"")
	}
	if len(all) > 0 {
		d.image, d.arguments = all[0], all[1:]
	}
	return nil
}

// servicesWithoutLimit is how many tasks --services-mode runs at once without a number:
// each has a worker of its own.
const servicesWithoutLimit = 20

func (d *daemonRun) numbers(flags *pflag.FlagSet, word func(string) string) error {
	if flags.Changed("services-mode") {
		n, err := strconv.Atoi(word("services-mode"))
		switch {
		case word("services-mode") == "" || n == -1:
			d.services = servicesWithoutLimit
			d.says = append(d.says, fmt.Sprintf("--services-mode without a limit runs %d tasks at once; give a number for another", servicesWithoutLimit))
		case err != nil || n < 0 || n > 500:
			return usagef("--services-mode takes a number of tasks, from 1 to 500, or -1")
		default: // 0 is off, as with clearml-agent
			d.services = n
		}
	}
	if v := word("polling-interval"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 3600 {
			return usagef("--polling-interval takes seconds, from 1 to 3600")
		}
		d.poll = time.Duration(n) * time.Second
	}
	if v := word("log-level"); v != "" {
		if d.logLevel = logLevel(v); !slices.Contains(spec.LogLevels, d.logLevel) {
			return usagef("--log-level is one of %s", strings.Join(spec.LogLevels, ", "))
		}
	}
	d.optimize = min(d.optimize, 2)
	d.timeout = time.Minute
	if v := word("timeout"); v != "" {
		var err error
		if d.timeout, err = time.ParseDuration(v); err != nil || d.timeout < 0 {
			return usagef("--timeout takes a time, as 30s")
		}
	} else if d.stop {
		d.timeout = 0
	}
	return nil
}

// logLevel is a level that clearml-agent takes, in the words of node.yaml.
func logLevel(text string) string {
	if text = strings.ToUpper(text); text == "WARN" {
		return "WARNING"
	}
	return text
}

// fits refuses flags that contradict each other.
func (d *daemonRun) fits() error {
	switch {
	case len(d.uptime) > 0 && len(d.downtime) > 0:
		return usagef("--uptime and --downtime are both given, and clearml-agent ignores them then; give one of them")
	case d.services > 0 && d.dynamic:
		return usagef("--dynamic-gpus and --services-mode don't go together: services have no GPU")
	case d.dynamic && (d.gpus == "" || d.cpuOnly):
		return usagef("--dynamic-gpus deals the GPUs of --gpus: name them, as --gpus 0-3")
	case d.gitUser != "" && d.gitPass == "":
		return usagef("--git-user has no --git-pass")
	}
	return nil
}

// typed is the command line for people, without what may be secret.
func typed(flags *pflag.FlagSet) string {
	out := []string{"daemon"}
	for _, f := range daemonFlags {
		name := flagName(f)
		if !flags.Changed(name) || f.own {
			continue
		}
		out = append(out, f.Names[0])
		v := flags.Lookup(name).Value
		switch list, several := v.(pflag.SliceValue); {
		case name == "git-pass":
			out = append(out, "***")
		case name == "docker" || name == "podman": // variables may be among its arguments
			if image, _, _ := strings.Cut(strings.Join(list.GetSlice(), " "), " "); image != "" {
				out = append(out, image)
			}
		case several:
			out = append(out, lo.Without(list.GetSlice(), leftOut)...)
		case f.Takes == argparse.One || f.Takes == argparse.Maybe:
			out = append(out, lo.Without([]string{v.String()}, leftOut)...)
		}
	}
	return cut(strings.Join(out, " "), 1000)
}
