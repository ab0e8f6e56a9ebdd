package migrate

// same is a behaviour that is here as there, and a test that shows it.
func same(name, why, test string) Row {
	return Row{Kind: KindBehaviour, Name: name, Verdict: Same, Why: why, Test: test}
}

// otherwise is one that is not.
func otherwise(name, why, test string) Row {
	return Row{Kind: KindBehaviour, Name: name, Verdict: Otherwise, Why: why, Test: test}
}

// behaviours are what clearml-agent does without being told.
func behaviours() []Row {
	return append([]Row{
		same("A task is popped, started, watched and reported by the ClearML REST protocol", "With fewer calls.", "./test/conformance TestRows"),
		otherwise("A task that was popped when the agent was killed stays queued without an entry", "The intent is on disk before the pop: the next start looks, and starts it or puts it back.", "./test/e2e TestKilledAtEveryStep"),
		otherwise("kill -9 of the agent leaves the task running, and nobody watches it", "The next agent takes it up again, with its console, its status and its GPUs.", "./test/e2e TestKilledAtEveryStep"),
		otherwise("SIGTERM or a restart of the agent ends the task as stopped", "Tasks go on under their shims. --drain-on-stop waits for them.", "./test/e2e TestAgentThatEnds"),
		otherwise("Console lines are lost at an error of the server", "Each line is there once, in order, however long the server is away.", "./test/e2e TestServerAway"),
		otherwise("A queue is looked at each 5 s; the end of a task is seen up to 5 s late", "The embedded server tells of a task at once; another is asked each spec.server.pollInterval. An end is seen when it happens.", "./test/e2e TestQueuesChangeLive"),
		otherwise("An abort kills the task at once", "SIGTERM, then after spec.workers[].stopGrace SIGKILL, of all its processes.", "./test/e2e TestAbort"),
		otherwise("With the server away the agent neither watches nor ends tasks", "Both go on; what there is to report waits.", "./test/e2e TestServerAway"),
		otherwise("Keys and git passwords are in files of /tmp that everybody can read, and in every task", "Secrets are in files of their owner alone. A task gets a token of its own.", "./test/e2e TestTaskGetsNoSecrets"),
		otherwise("Tasks get the agent's whole environment", "A clean one. spec.workers[].hostEnvironment names variables that tasks get, spec.workers[].environment gives them.", "./worker TestTaskEnvHoldsNothingOfTheAgents"),
		otherwise("Tasks of the host run as the agent's user, mostly root", "As the user agentctl, or nobody, of spec.workers[].runAs.", "./test/e2e TestTaskGetsNoSecrets"),
		otherwise("Container arguments of a task go to docker run as they are", "Each is granted or refused by spec.sandbox.allow.", "./worker TestContainerDenied"),
		otherwise("With --docker and no image, tasks that name none run in nvidia/cuda", "In spec.sandbox.defaultImage, which is host: the host's file system, read-only.", "./spec TestExpandSandbox"),
		otherwise("Setup scripts are joined to one line, failures ignored", "They run as they are written; one that fails fails the task.", "./worker TestContainer"),
		otherwise("A virtual environment that is there is used again, with the packages of the task before", "Each environment is built for what was asked for, and kept by it.", "./test/e2e TestNoPackagesOfAnotherTask"),
		otherwise("venvs_cache copies environments, and hits by unpinned lists for ever", "Nothing is copied, and a list without versions is resolved anew after spec.cache.resolveAge.", "./envcache TestAnUnpinnedListAges"),
		otherwise("reload_config rewrites a file for the next task; most changes need a restart", "Every change of node.yaml is live, and agentctl plan says what it does.", "./test/e2e TestQueuesChangeLive"),
		otherwise("Hour 0 and days that wrap around are dropped from schedules", "They count.", "./migrate TestSchedule"),
		otherwise("git config --global safe.directory * is set on the host", "Nothing of the host's git is changed.", "./envcache/repo TestTheStoreItselfIsNoRepository"),
		otherwise("pip of each environment is replaced, mostly by an older one", "pip runs from outside, one release for all.", "./envcache TestThePinnedPipIsKnown"),
		otherwise("A container whose name was changed is never stopped", "A sandbox ends with its shim, whatever is in it.", "./test/e2e TestAbortOfAStubbornTask"),
	}, moreBehaviours()...)
}

func moreBehaviours() []Row {
	return []Row{
		same("The task's Python version is looked for in PATH, else the nearest is taken", "With python.onMissing: nearest, which agentctl import writes.", "./envcache TestNearest"),
		same("Without packages of its own, a task gets the requirements.txt of each folder down to its script", "", "./worker TestWherePackagesComeFrom"),
		same("The packages as installed are written back, what was asked for is kept as org_pip", "With a lock, by which a clone gets the very same.", "./worker TestInstalled"),
		same("priority_packages come first, post_packages last", "", "./envcache TestPriorityAndPost"),
		same("poetry.lock, uv.lock and conda's environments are installed by their own managers", "", "./test/e2e TestManagers"),
		same("The uncommitted diff is applied, and fails the task if it does not fit", "File and hunk are named.", "./envcache/repo TestAPatchThatDoesNotApplyNamesFileAndHunk"),
		otherwise("torch and what belongs to it is looked for in the index of PyTorch's for the CUDA of the machine", "Only with spec.packageManager.torchIndex: auto does the same. By itself it is off: the wheels of the usual index bring their CUDA along.", "./worker TestTorchIndex"),
		same("Submodules are fetched, with the login of their host", "", "./envcache/repo TestRelativeSubmodulesAndCredentials"),
		same("A script is run from its working folder: file, -m module, notebook, shell", "Arguments are never on the command line: the SDK reads them.", "./test/e2e TestEntryPoints"),
		same("Exit code 0 is completed, anything else failed with the code; an abort is stopped", "A signal, a time limit and a lost node are told apart.", "./test/e2e TestEndsAreToldApart"),
		same("A task's container section names image, arguments and setup script", "", "./worker TestContainer"),
		same("Configuration comes from files, CLEARML_AGENT__a__b, then variables of their own", "Variables of the running agent count over node.yaml.", "./migrate TestPrecedence"),
		otherwise("The SDK section of clearml.conf reaches tasks", "A task reads no clearml.conf of the machine, since there are keys in it.", "./worker TestTaskEnvHoldsNothingOfTheAgents"),
		otherwise("The ids of workers are NAME:SLOT, NAME:gpu0", "NODE:GROUP:INDEX, or spec.workers[].id.", "./spec TestExpand"),
	}
}
