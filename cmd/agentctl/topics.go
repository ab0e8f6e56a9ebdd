package main

import "github.com/spf13/cobra"

// topics are pages of the help that belong to no verb.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesText},
		{Use: "variables", Short: "Which variables are read", Long: variablesText},
		{Use: "task-settings", Short: "What a task may say of its environment", Long: taskSettingsText},
	}
}

const exitCodesText = `Exit codes:

    0    done
    1    failed
    2    the command line is wrong, or a spec is not valid
    3    not done in time: the node has not converged, a task still runs
    4    another revision is in force than the one that was meant (--check)
    5    no agent answers
    6    not verified: a commit is not signed as it must be, or rewrites what was applied
    130  interrupted

Some verbs have codes of their own:

    diff                       0 the same, 1 different, above 1 it can't be told
    plan --detailed-exitcode   0 nothing to do, 2 something to do, 1 it can't be told
    submit --wait, execute     the task's own code; 128 and the number for a signal;
                               1 for a task that was stopped`

const variablesText = `Every flag can be given as a variable: its name in capitals, dashes as underscores,
behind AGENTCTL_. AGENTCTL_STATE is --state, AGENTCTL_SERVER_LISTEN is
--server-listen. What stands on the command line counts more.

    NO_COLOR           any value: no colours; so does TERM=dumb, and what is no terminal
    XDG_STATE_HOME     state folder of a user who is not root: $XDG_STATE_HOME/agentctl
    XDG_RUNTIME_DIR    socket of such a user: $XDG_RUNTIME_DIR/agentctl/agentctl.sock
    NOTIFY_SOCKET, WATCHDOG_USEC    set by systemd for the agent
    RANK, SLURM_PROCID  "execute" runs one of several ranks of the task

An agent passes on to tasks what they need to reach the network: HTTP_PROXY,
HTTPS_PROXY, NO_PROXY, ALL_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE,
CURL_CA_BUNDLE, PIP_CERT and TZ; of its own nothing else but what node.yaml names
(workers[].hostEnvironment, sandbox.arguments.hostEnv).`

const taskSettingsText = `A task may choose how its own environment is made, by hyperparameters in the section
agentctl. They count more than node.yaml; "agentctl submit" sets the first two.

    agentctl/packageManager.type      pip, uv, conda, poetry or auto
    agentctl/packageManager.python    version of Python, as 3.12; else what the task's
                                      binary names, else the node's default
    agentctl/packageManager.groups    dependency groups of the project, with commas
                                      between them; * is all
    agentctl/packageManager.extras    extras of the project, in the same way
    agentctl/sandbox.aptPackages      packages of Debian for the image of a sandbox, as
                                      far as spec.sandbox.allow.aptPackages says
    agentctl/replay                   set by "agentctl execute": without the lock of its
                                      packages the task fails

With the SDK: task.set_parameter("agentctl/packageManager.type", "uv"). A clone of a
task has them too. What can't be meant fails the task before anything is built.

Where the packages are written: with uv, conda, poetry and auto the files of the
repository count first (poetry.lock, uv.lock, environment.yml, pylock.toml, the header
of a script); then the task's own list; then requirements.txt of the repository and of
each folder down to the script's. A task that an agent has run has a lock of all its
packages beside its list. As long as the list stays as it is, a clone gets just what
the lock says. The console tells which of these it was.`
