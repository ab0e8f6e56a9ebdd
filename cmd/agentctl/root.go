package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"agentctl/control"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// app is what all verbs share: the global flags and the streams.
type app struct {
	*Main
	state, socket  string
	stateGiven     bool
	mount          hostMount // of the pod, if this is one
	quiet, verbose bool
	noColor        bool
}

// root builds the command tree.
func (m *Main) root() *cobra.Command {
	a := &app{Main: m}
	root := &cobra.Command{
		Use:   "agentctl",
		Short: "Run ML tasks from queues on this node, as node.yaml says",
		Long: `agentctl makes this machine run ML tasks from queues, as one YAML file says.

Begin with "agentctl init", which looks at the machine and writes node.yaml, and
"agentctl apply node.yaml", which makes it so. Every flag can be given as a
variable too: --state as AGENTCTL_STATE. docs/cli.md lists the exit codes.`,
		Example:      "  agentctl init\n  agentctl apply node.yaml\n  agentctl get workers\n  agentctl submit --wait train.py",
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.fromEnviron(cmd.Flags()) },
	}
	root.SetIn(m.Stdin)
	root.SetOut(m.Stdout)
	root.SetErr(m.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	f := root.PersistentFlags()
	f.StringVar(&a.state, "state", "", "state folder (default /var/lib/agentctl, or $XDG_STATE_HOME/agentctl)")
	f.StringVar(&a.socket, "socket", "", "control socket (default /run/agentctl/agentctl.sock, or in $XDG_RUNTIME_DIR)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print data and errors only")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log more")
	f.BoolVar(&a.noColor, "no-color", false, "no colours (also NO_COLOR)")
	root.AddGroup(
		&cobra.Group{ID: groupSpec, Title: "Say what the node is to be:"},
		&cobra.Group{ID: groupSee, Title: "See what it does:"},
		&cobra.Group{ID: groupTasks, Title: "Run and stop tasks:"},
		&cobra.Group{ID: groupHost, Title: "Processes and the machine:"},
	)
	add(root, groupSpec, a.initCmd(), a.importCmd(), a.validateCmd(), a.planCmd(), a.diffCmd(), a.applyCmd(), a.confirmCmd(), a.rollbackCmd(), a.suspendCmd(), a.resumeCmd(), a.reconcileCmd())
	add(root, groupSee, a.getCmd(), a.describeCmd(), a.explainCmd(), a.topCmd(), a.auditCmd(), a.serverWorkersCmd(), a.configCmd(), a.historyCmd(), a.blameCmd(), a.logsCmd(), a.cacheCmd(), a.imageCmd())
	add(root, groupTasks, a.submitCmd(), a.executeCmd(), a.buildCmd(), a.stopCmd(), a.execCmd(), a.drainCmd(), a.cordonCmd(), a.uncordonCmd())
	add(root, groupHost, a.agentCmd(), a.daemonCmd(), a.serverCmd(), a.doctorCmd(), a.versionCmd())
	root.AddCommand(inside())
	root.AddCommand(topics()...)
	usageArgs(group(root))
	return root
}

// Groups of verbs in the help.
const (
	groupSpec  = "spec"
	groupSee   = "see"
	groupTasks = "tasks"
	groupHost  = "host"
)

func add(root *cobra.Command, id string, verbs ...*cobra.Command) {
	for _, v := range verbs {
		v.GroupID = id
	}
	root.AddCommand(verbs...)
}

// group makes a verb that has only others below it: alone it prints its help, and
// a word that is none of them is a usage error.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && c.HasParent():
			return usagef("say what to %s, as `%s %s`", c.Name(), c.CommandPath(), c.Commands()[0].Name())
		case len(args) == 0:
			return c.Help()
		}
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			return usagef("there is no `%s %.50s`; did you mean %s?", c.CommandPath(), args[0], strings.Join(near, ", "))
		}
		return usagef("there is no `%s %.50s`", c.CommandPath(), args[0])
	}
	return cmd
}

// usageArgs makes wrong arguments of any verb a usage error.
func usageArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return &usageError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		usageArgs(sub)
	}
}

// fromEnviron sets each flag that was not given from its AGENTCTL_ variable, and
// then the folders that have no default yet.
func (a *app) fromEnviron(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "AGENTCTL_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v := a.Getenv(name); v != "" && !f.Changed && f.Name != "help" && err == nil {
			if serr := flags.Set(f.Name, v); serr != nil {
				err = usagef("cannot use the variable %s: %w", name, serr)
			}
		}
	})
	if err != nil {
		return err
	}
	if a.mount, err = a.hostMount(); err != nil {
		return err
	}
	if a.stateGiven = a.state != ""; !a.stateGiven {
		a.state = a.defaultState()
	}
	if a.socket == "" {
		a.socket = a.defaultSocket()
	}
	a.state, err = filepath.Abs(a.state)
	if err == nil {
		a.socket, err = filepath.Abs(a.socket)
	}
	return err
}

func (a *app) defaultState() string {
	if a.mount.pod != "" {
		return a.mount.state()
	}
	if os.Geteuid() == 0 {
		return "/var/lib/agentctl"
	}
	if dir := a.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "agentctl")
	}
	return filepath.Join(a.Getenv("HOME"), ".local", "state", "agentctl")
}

func (a *app) defaultSocket() string {
	if os.Geteuid() == 0 {
		return "/run/agentctl/agentctl.sock"
	}
	if dir := a.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "agentctl", "agentctl.sock")
	}
	return filepath.Join(a.state, "agentctl.sock")
}

func (a *app) client() *control.Client { return control.NewClient(a.socket) }

// logger writes to stderr, as journald and kubectl's users expect.
func (a *app) logger() *slog.Logger {
	level := slog.LevelInfo
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: level}))
}

// colour tells whether to colour what is written to a stream.
func (a *app) colour(stream any) bool {
	return !a.noColor && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb" && terminal(stream)
}

// say writes talk, unless --quiet.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintln(a.Stderr, printable(fmt.Sprintf(format, args...)))
	}
}

// terminal tells whether a stream is a terminal that a person sits at.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
