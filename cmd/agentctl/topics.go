package main

import "github.com/spf13/cobra"

// topics are pages of the help that belong to no verb.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesText},
		{Use: "variables", Short: "Which variables are read", Long: variablesText},
	}
}

const exitCodesText = `Exit codes:

    0    done
    1    failed
    2    the command line is wrong, or a spec is not valid
    3    not done in time: the node has not converged, a task still runs
    5    no agent answers
    130  interrupted

Some verbs have codes of their own:

    diff                       0 the same, 1 different, above 1 it can't be told
    plan --detailed-exitcode   0 nothing to do, 2 something to do, 1 it can't be told
    submit --wait              the task's own code; 128 and the number for a signal;
                               1 for a task that was stopped`

const variablesText = `Every flag can be given as a variable: its name in capitals, dashes as underscores,
behind AGENTCTL_. AGENTCTL_STATE is --state, AGENTCTL_SERVER_LISTEN is
--server-listen. What stands on the command line counts more.

    NO_COLOR           any value: no colours; so does TERM=dumb, and what is no terminal
    XDG_STATE_HOME     state folder of a user who is not root: $XDG_STATE_HOME/agentctl
    XDG_RUNTIME_DIR    socket of such a user: $XDG_RUNTIME_DIR/agentctl/agentctl.sock
    NOTIFY_SOCKET, WATCHDOG_USEC    set by systemd for the agent

An agent passes on to tasks what they need to reach the network: HTTP_PROXY,
HTTPS_PROXY, NO_PROXY, ALL_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE,
CURL_CA_BUNDLE, PIP_CERT and TZ; nothing else of its own.`
