package migrate

// option is one with a place here.
func option(name, target, why string) Row {
	return Row{Kind: KindFlag, Name: name, Verdict: Mapped, Target: target, Why: why}
}

func idleFlag(name, why string) Row {
	return Row{Kind: KindFlag, Name: name, Verdict: NoOp, Why: why}
}

func noFlag(name, why string) Row {
	return Row{Kind: KindFlag, Name: name, Verdict: Refused, Why: why}
}

// flags are those of clearml-agent's command line. The command clearml-agent, a link to
// agentctl, takes them as they are.
func flags() []Row {
	return append([]Row{
		option("--config-file", "agentctl import FILE, agentctl daemon --config-file", ""),
		option("--debug", "agentctl --verbose", ""),
		option("--version", "agentctl version", ""),
		option("--help", "agentctl help", ""),
		option("@FILE", "agentctl daemon @FILE", "Arguments from a file."),
		option("daemon --queue", "spec.workers[].queues", "Several are in order of priority."),
		option("daemon --order-fairness", "spec.workers[].order", "roundRobin."),
		option("daemon --create-queue", "spec.workers[].createQueues", ""),
		option("daemon --polling-interval", "spec.server.pollInterval", "One look serves all workers of the node; the embedded server tells of a task at once."),
		option("daemon --foreground", "agentctl daemon --foreground", "It stays with its worker and removes it at SIGTERM. Without it the agent has the worker, and the command ends."),
		idleFlag("daemon --detached", "Without --foreground the agent does the work anyway."),
		option("daemon --stop", "agentctl daemon --stop", "The worker is drained: its task runs to its end. agentctl stop ends a task."),
		option("daemon --status", "agentctl daemon --status, agentctl get workers", ""),
		option("daemon --docker", "spec.workers[].mode, spec.workers[].image, spec.workers[].sandbox", "sandbox: no container engine is needed."),
		option("daemon --podman", "spec.workers[].mode", "As --docker."),
		option("daemon --gpus", "spec.workers[].gpus", ""),
		option("daemon --cpu-only", "spec.workers[].gpus", "none."),
		option("daemon --dynamic-gpus", "spec.workers[].gpus, spec.workers[].count", "A group of workers for each queue; the node deals the GPUs, each of which one task has."),
		option("daemon --services-mode", "spec.workers[].count, spec.workers[].gpus", "A group of as many workers, without GPUs."),
		option("daemon --child-report-tags", "spec.workers[].tags", ""),
		option("daemon --uptime", "spec.workers[].windows", ""),
		option("daemon --downtime", "spec.workers[].windows", ""),
		option("daemon --standalone-mode", "spec.workers[].standalone", ""),
		idleFlag("daemon --force-current-version", "It holds by construction: the runner in a sandbox is of this very build."),
		idleFlag("daemon --check-bootstrap", "Nothing is installed in sandboxes to start a task."),
		noFlag("daemon --use-owner-token", "Only the enterprise server can give tokens of others. A task has one of its own."),
		option("daemon -O", "spec.workers[].pythonOptimize", ""),
		option("daemon --git-user", "spec.git.credentialsFile", ""),
		option("daemon --git-pass", "spec.git.credentialsFile", "An argument can be read by every user of the machine: better a file."),
		option("daemon --log-level", "spec.workers[].logLevel", ""),
	}, verbFlags()...)
}

func verbFlags() []Row {
	return []Row{
		option("execute --id", "agentctl execute --id", ""),
		option("execute --log-file", "agentctl execute --log-file", ""),
		idleFlag("execute --disable-monitoring", "A task's console and its end are always reported."),
		idleFlag("execute --full-monitoring", "As --disable-monitoring."),
		option("execute --gpus", "agentctl execute --gpus", ""),
		option("execute --cpu-only", "agentctl execute --cpu-only", ""),
		option("execute -O", "agentctl execute --optimize", ""),
		option("execute --log-level", "agentctl execute --log-level", ""),
		noFlag("execute --git-user, --git-pass; build --git-user, --git-pass", "Logins are in spec.git.credentialsFile of the node, and never on a command line."),
		option("execute --require-queue", "agentctl execute --require-queue", ""),
		option("execute --standalone-mode", "agentctl execute --standalone-mode", ""),
		option("execute --docker", "agentctl execute --docker", ""),
		option("execute --clone", "agentctl execute --clone", ""),
		option("build --id", "agentctl build --id", "The environment of a task, as a folder."),
		option("build --target", "agentctl build --target", ""),
		option("build --docker", "agentctl build --docker", "An image with the environment as a layer, pushed or as an archive."),
		idleFlag("build --install-globally", "The environment is at the front of the image's PATH."),
		option("build --force-docker", "agentctl build --force-docker", "The node's image in place of the task's."),
		option("build --python-version", "agentctl build --python-version", ""),
		option("build --entry-point", "agentctl build --entry-point", "reuse_task. A copy is made by whoever enqueues it (agentctl execute --clone)."),
		option("list", "agentctl list", "All workers of the server."),
		option("config", "agentctl config", "node.yaml in force, with its defaults."),
		option("init", "agentctl init", "It looks at the machine and asks nothing."),
		noFlag("install-bootstrap", "Nothing is installed in sandboxes to start a task."),
	}
}
