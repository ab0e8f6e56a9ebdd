package main

import (
	"strings"

	"agentctl/internal/argparse"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

// What a flag of clearml-agent is here.
const (
	flagSame   = "mapped"           // it does the same
	flagOther  = "something else"   // what takes its place is said when it is given
	flagNone   = "no effect"        // what it asks for is so anyway
	flagDenied = "not carried over" // the command ends with what to do
)

// daemonFlag is one flag of `clearml-agent daemon` 3.0.3, or one of our own.
type daemonFlag struct {
	argparse.Option
	Verdict string
	// Becomes names the fields of node.yaml, or says what it becomes.
	Becomes string
	// Says is told when the flag is given.
	Says string
	help string
	own  bool // not of clearml-agent
}

// daemonFlags is what becomes of each flag. A test holds it against the table that
// docs/migrating.md is made of.
var daemonFlags = []daemonFlag{
	{Option: someWords("--queue"), Verdict: flagSame, Becomes: "spec.workers[].queues", help: "queues, by name or id, in order of priority (default the queue default); with --dynamic-gpus as NAME=GPUS"},
	{Option: noWord("--order-fairness"), Verdict: flagSame, Becomes: "spec.workers[].order", help: "let the queues take turns"},
	{Option: noWord("--create-queue"), Verdict: flagSame, Becomes: "spec.workers[].createQueues", help: "create queues that the server does not have"},
	{Option: anyWords("--docker"), Verdict: flagSame, Becomes: "spec.workers[].mode, spec.workers[].image, spec.workers[].sandbox, spec.workers[].resources",
		help: `run tasks in sandboxes, in IMAGE, as --docker "IMAGE ARGS" with arguments of docker run`},
	{Option: anyWords("--podman"), Verdict: flagOther, Becomes: "--docker", Says: "--podman is as --docker: no container engine is used", help: "as --docker"},
	{Option: noWord("--force-current-version"), Verdict: flagNone, Becomes: "the runner in each sandbox is of this very build",
		Says: "--force-current-version holds by construction: the runner in each sandbox belongs to this build, and nothing is installed there", help: "holds by construction: the runner in a sandbox is of this build"},
	{Option: oneWord("--gpus"), Verdict: flagSame, Becomes: "spec.workers[].gpus", help: "GPUs of the worker: all, or indices and UUIDs, as 0,1"},
	{Option: noWord("--cpu-only"), Verdict: flagSame, Becomes: "spec.workers[].gpus", help: "no GPU"},
	{Option: noWord("--dynamic-gpus"), Verdict: flagOther, Becomes: "a group of workers for each queue, among which the GPUs are dealt once",
		help: "deal the GPUs of --gpus to the queues, as --queue big=2 small=1"},
	{Option: maybeWord("--services-mode"), Verdict: flagSame, Becomes: "spec.workers[].count, spec.workers[].gpus", help: "run up to N tasks at once, without GPUs (20 if N is left out or -1)"},
	{Option: noWord("--foreground"), Verdict: flagSame, Becomes: "the command stays with its worker, shows its console, and removes it at SIGTERM", help: "stay, show the console of tasks, and remove the worker at SIGTERM; a second one ends its task"},
	{Option: noWord("--detached", "-d"), Verdict: flagNone, Becomes: "without --foreground the agent does the work anyway", help: "as without --foreground"},
	{Option: anyWords("--stop"), Verdict: flagSame, Becomes: "a drain of the worker, which then is removed", help: "take no further task, wait for the running one, and remove the worker: that of ID, or of the other flags"},
	{Option: noWord("--status"), Verdict: flagOther, Becomes: "schedule and queues of the workers, exit code 0 (clearml-agent: 1)", help: "show schedule and queues of contributed workers"},
	{Option: oneWord("--polling-interval"), Verdict: flagOther, Becomes: "spec.server.pollInterval", help: "seconds between two looks at the queues, for an agent that is started by this"},
	{Option: anyWords("--uptime"), Verdict: flagSame, Becomes: "spec.workers[].windows", help: `when tasks are taken, as "17-20 TUE"`},
	{Option: anyWords("--downtime"), Verdict: flagSame, Becomes: "spec.workers[].windows", help: `when none are taken, as "09-13 TUE"`},
	{Option: noWord("--standalone-mode"), Verdict: flagSame, Becomes: "spec.workers[].standalone", help: "fetch and install nothing"},
	{Option: someWords("--child-report-tags"), Verdict: flagSame, Becomes: "spec.workers[].tags", help: "tags that the worker shows on the server"},
	{Option: oneWord("--git-user"), Verdict: flagSame, Becomes: "spec.git.credentialsFile", help: "user of git repositories"},
	{Option: oneWord("--git-pass"), Verdict: flagSame, Becomes: "spec.git.credentialsFile",
		Says: "warning: the password was on the command line, where everybody on this machine could read it; it is kept in a file now, leave the flag out next time",
		help: "password or token of git repositories; every user of the machine can read it there"},
	{Option: oneWord("--log-level"), Verdict: flagSame, Becomes: "spec.workers[].logLevel", help: "level of what the SDK says in tasks"},
	{Option: argparse.Option{Names: []string{"-O"}, Takes: argparse.Count}, Verdict: flagSame, Becomes: "spec.workers[].pythonOptimize", help: "run Python with -O; twice with -OO"},
	{Option: oneWord("--config-file"), Verdict: flagSame, Becomes: "what an agent that is started by this takes from it", help: "configuration of clearml-agent (default ~/clearml.conf)"},
	{Option: noWord("--check-bootstrap"), Verdict: flagNone, Becomes: "there is no bootstrap package", Says: "--check-bootstrap has no effect: nothing is installed in sandboxes to start a task", help: "has no effect"},
	{Option: noWord("--use-owner-token"), Verdict: flagDenied, Becomes: "a feature of the enterprise server; tasks get a token of their own",
		Says: "--use-owner-token is a feature of the enterprise server; here each task gets a token of its own, never the agent's keys", help: "is refused: only the enterprise server has it"},

	{Option: noWord("--print"), help: "show the node.yaml that does the same, and change nothing", own: true},
	{Option: oneWord("--timeout"), help: "longest wait until the worker is ready (default 1m), or, with --stop, gone (default: no limit)", own: true},
	{Option: oneWord("--server-listen"), help: "address of the embedded server of an agent that is started by this", own: true},
	{Option: oneWord("--node-name"), help: "name of the node of an agent that is started by this", own: true},
}

// takes makes options of one kind.
func takes(t argparse.Takes) func(names ...string) argparse.Option {
	return func(names ...string) argparse.Option { return argparse.Option{Names: names, Takes: t} }
}

var (
	noWord, oneWord, maybeWord = takes(argparse.None), takes(argparse.One), takes(argparse.Maybe)
	anyWords, someWords        = takes(argparse.Any), takes(argparse.Some)
)

// inherited are the flags of every verb, which clearml-agent does not have.
var inherited = []argparse.Option{
	{Names: []string{"--state"}, Takes: argparse.One, Late: true},
	{Names: []string{"--socket"}, Takes: argparse.One, Late: true},
	{Names: []string{"--quiet", "-q"}, Late: true},
	{Names: []string{"--verbose", "-v"}, Late: true},
	{Names: []string{"--no-color"}, Late: true},
	{Names: []string{"--help", "-h"}},
}

// daemonOptions are all flags that the command knows.
func daemonOptions() []argparse.Option {
	own := lo.Map(daemonFlags, func(f daemonFlag, _ int) argparse.Option {
		o := f.Option
		o.Late = f.own
		return o
	})
	return append(own, inherited...)
}

// register makes flags of the table, for cobra, in the form that the command line is
// brought to: a flag with several values stands before each of them.
func registerDaemonFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	for _, f := range daemonFlags {
		name, short := flagName(f), ""
		for _, n := range f.Names {
			if !strings.HasPrefix(n, "--") {
				short = n[1:]
			}
		}
		switch f.Takes {
		case argparse.None:
			flags.BoolP(name, short, false, f.help)
		case argparse.Count:
			flags.CountP(name, short, f.help)
		case argparse.One, argparse.Maybe:
			flags.StringP(name, short, "", f.help)
		case argparse.Any, argparse.Some:
			flags.StringArrayP(name, short, nil, f.help)
		}
	}
}

// flagName is what cobra calls a flag.
func flagName(f daemonFlag) string {
	if f.Names[0] == "-O" {
		return "optimize"
	}
	return strings.TrimLeft(f.Names[0], "-")
}

// leftOut is the value of a flag that was given without one, which an empty one means
// too.
const leftOut = ""
