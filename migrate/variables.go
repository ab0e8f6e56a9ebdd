package migrate

import (
	"iter"
	"maps"

	"github.com/samber/lo"
)

func keysOf(m map[string]string) iter.Seq[string] { return maps.Keys(m) }

// override is a variable that counts in place of a key.
func override(name, key string, older ...string) Row {
	return Row{Kind: KindVariable, Name: name, Key: key, older: older}
}

// switched is a variable that, where it is on, has its key be something.
func switched(name, key string, to any) Row {
	r := override(name, key)
	r.example = "1"
	r.convert = func(s string) any {
		if on, err := boolOf(s); err != nil || !on {
			return nil
		}
		return to
	}
	return r
}

// idle are variables without an effect here.
func idle(why string, names ...string) []Row {
	return lo.Map(names, func(n string, _ int) Row { return Row{Kind: KindVariable, Name: n, Verdict: NoOp, Why: why} })
}

// dropped are variables that are not carried over.
func dropped(why string, names ...string) []Row {
	return lo.Map(names, func(n string, _ int) Row { return Row{Kind: KindVariable, Name: n, Verdict: Refused, Why: why} })
}

// variables are those of the agent's own environment.
func variables() []Row {
	rows := []Row{
		override("CLEARML_API_HOST", "api.api_server"),
		override("CLEARML_WEB_HOST", "api.web_server"),
		override("CLEARML_FILES_HOST", "api.files_server"),
		override("CLEARML_API_ACCESS_KEY", "api.credentials.access_key"),
		override("CLEARML_API_SECRET_KEY", "api.credentials.secret_key"),
		override("CLEARML_AUTH_TOKEN", "=auth_token"),
		override("CLEARML_API_HOST_VERIFY_CERT", "api.verify_certificate"),
		override("CLEARML_API_DEFAULT_REQ_METHOD", "api.http.default_method"),
		override("CLEARML_WORKER_NAME", "agent.worker_name"),
		override("CLEARML_WORKER_ID", "agent.worker_id"),
		{Kind: KindVariable, Name: "CLEARML_WORKER_TAGS", Key: "=worker_tags", example: "fast 'two words'", convert: splitWords},
		override("CLEARML_CPU_ONLY", "agent.cpu_only", "CPU_ONLY"),
		override("NVIDIA_VISIBLE_DEVICES", "=visible_gpus", "CUDA_VISIBLE_DEVICES"),
		{
			Kind: KindVariable, Name: "CLEARML_CUDA_VERSION", Key: "agent.cuda_version", older: []string{"CUDA_VERSION"},
			Why: "It chooses the index of PyTorch's wheels, if one is used; nothing else depends on it. CUDA_VERSION, which images of CUDA set, counts for agentctl import and daemon alone.",
		},
		override("CLEARML_CUDNN_VERSION", "agent.cudnn_version", "CUDNN_VERSION"),
		override("CLEARML_AGENT_GIT_USER", "agent.git_user"),
		override("CLEARML_AGENT_GIT_PASS", "agent.git_pass"),
		override("CLEARML_AGENT_GIT_HOST", "agent.git_host"),
		override("CLEARML_AGENT_GIT_USE_AZURE_PAT", "agent.git_use_azure_pat"),
		override("CLEARML_AGENT_GIT_USE_MS_ENTRA_TOKEN", "agent.git_use_ms_entra_token"),
		override("CLEARML_AGENT_SSH_URL_REPLACEMENT_SCHEME", "agent.translate_ssl_replacement_scheme"),
		override("CLEARML_AGENT_SKIP_PIP_VENV_INSTALL", "=use_interpreter", "CLEARML_SKIP_PIP_VENV_INSTALL"),
		switched("CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL", "=use_interpreter", "1"),
		switched("CLEARML_AGENT_FORCE_POETRY", pm+"type", "poetry"),
		switched("CLEARML_AGENT_FORCE_UV", pm+"type", "uv"),
		override("CLEARML_EXTRA_PIP_INSTALL_FLAGS", pm+"extra_pip_install_flags"),
		override("CLEARML_AGENT_PACKAGE_PYTORCH_RESOLVE", pm+"pytorch_resolve"),
		override("CLEARML_AGENT_FORCE_SYSTEM_SITE_PACKAGES", pm+"system_site_packages"),
		override("CLEARML_USE_CONDA_BASE_ENV", pm+"use_conda_base_env"),
		override("CLEARML_AGENT_CUSTOM_BUILD_SCRIPT", "agent.custom_build_script"),
		override("CLEARML_AGENT_VENV_CACHE_PATH", "agent.venvs_cache.path"),
		override("CLEARML_AGENT_ENABLE_ENV_CONFIG_SECTION", "agent.apply_environment"),
		override("CLEARML_DOCKER_IMAGE", "agent.default_docker.image"),
		override("CLEARML_AGENT_EXTRA_DOCKER_ARGS", "agent.extra_docker_arguments"),
		override("CLEARML_AGENT_DOCKER_ARGS_FILTERS", "agent.docker_args_filters"),
		override("CLEARML_AGENT_DOCKER_ARGS_HIDE_ENV", "agent.hide_docker_command_env_vars.extra_keys"),
		override("CLEARML_AGENT_DISABLE_SSH_MOUNT", "agent.disable_ssh_mount"),
		override("CLEARML_AGENT_EXEC_USER", "=exec_user"),
		override("CLEARML_AGENT_QUEUE_POLL_FREQ_SEC", "=queue_poll_sec"),
		override("CLEARML_AGENT_CRASH_ON_EXCEPTION", "agent.crash_on_exception"),
		override("CLEARML_LOG_LEVEL", "=log_level"),
	}
	rows[len(rows)-2].Why = "A fault of one task never ends the agent."
	return append(rows, otherVariables()...)
}

func splitWords(s string) any {
	words, err := wordsOf(s)
	if err != nil {
		return s
	}
	return lo.ToAnySlice(words)
}

func otherVariables() []Row {
	rows := idle("agentctl import reads the file that it names; the agent itself reads node.yaml.", "CLEARML_CONFIG_FILE", "CLEARML_CONFIG_PATH")
	rows = append(rows, idle("agentctl agent --verbose logs more, and never a secret.", "CLEARML_API_VERBOSE", "CLEARML_AGENT_CONFIG_VERBOSE", "CLEARML_AGENT_DEBUG_INFO",
		"CLEARML_AGENT_DEBUG_GET_NEXT_TASK", "CLEARML_AGENT_GIT_CLONE_VERBOSE", "CLEARML_AGENT_URLLIB3_CONNECT_LEVEL")...)
	rows = append(rows, idle("No server is assumed: without one agentctl brings its own along, on this machine.", "CLEARML_NO_DEFAULT_SERVER")...)
	rows = append(rows, idle("agentctl waits for the server as long as it takes, and speaks the versions that its token names.", "CLEARML_AGENT_INITIAL_CONNECT_RETRY_OVERRIDE", "CLEARML_AGENT_FORCE_MAX_API_VERSION")...)
	rows = append(rows, idle("Vaults are of the enterprise server alone.", "CLEARML_AGENT_DISABLE_VAULT_SUPPORT")...)
	rows = append(rows, idle("The section files is told of by agentctl import.", "CLEARML_AGENT_ENABLE_FILES_CONFIG_SECTION")...)
	rows = append(rows, idle("The older names count in any case, after the newer ones.", "CLEARML_AGENT_ALG_ENV", "TRAINS_ENV")...)
	rows = append(rows, idle("GPUs of AMD are devices of the sandbox: spec.sandbox.arguments.devices.", "ROCM_PATH", "CLEARML_DOCKER_SKIP_GPUS_FLAG")...)
	rows = append(rows, dropped("Write the shares of a GPU as spec.gpus.slots[].shares, and of a worker as gpus: 0.25.", "CLEARML_AGENT_GPU_FRACTIONS")...)
	rows = append(rows, idle("They are the task's own: name them in spec.workers[].hostEnvironment where a launcher sets them for the agent.", "RANK", "SLURM_PROCID", "CLEARML_MULTI_NODE_SINGLE_TASK")...)
	rows = append(rows, idle("git reads it as always where it runs as the agent's own user.", "SSH_AUTH_SOCK")...)
	rows = append(rows, dropped("A task's code is that of its repository. A worker with standalone: true runs what is there.", "CLEARML_AGENT_FORCE_CODE_DIR", "CLEARML_AGENT_FORCE_EXEC_SCRIPT", "CLEARML_AGENT_STANDALONE_CONFIG_BC")...)
	rows = append(rows, dropped("A task whose code has no Task.init is run as it is: its console and its end are reported all the same.", "CLEARML_AGENT_FORCE_TASK_INIT")...)
	rows = append(rows, dropped("Install what it holds, or start the script as a module of its repository.", "CLEARML_AGENT_EXTRA_PYTHON_PATH")...)
	rows = append(rows, idle("The package managers are private, pinned and fetched once.", "CLEARML_BOOTSTRAP_UV_EXEC", "CLEARML_CONDA_ENV_PACKAGE", "CLEARML_PIP_VER", "CLEARML_PYTHON_VER", "CLEARML_UPDATE_UV", "VIRTUAL_ENV")...)
	rows = append(rows, idle("A sandbox has no labels, no name and no restarts; agentctl get tasks lists them.", "CLEARML_AGENT_EXTRA_DOCKER_LABELS", "CLEARML_AGENT_SERVICES_DOCKER_RESTART", "CLEARML_AGENT_CHILD_AGENTS_COUNT_CMD")...)
	rows = append(rows, idle("No agent is installed in a sandbox: the runner inside is of this very build.", "FORCE_CLEARML_AGENT_REPO", "CLEARML_AGENT_DOCKER_AGENT_REPO", "FORCE_LOCAL_CLEARML_AGENT_WHEEL",
		"CLEARML_BOOTSTRAP_DIR", "CLEARML_BOOTSTRAP_CACHE_DIR", "CLEARML_SKIP_GIT_INST", "CLEARML_FORCE_STATIC_GIT_BIN", "CLEARML_SKIP_CA_CERT_INST", "CLEARML_AGENT_SKIP_CONTAINER_APT")...)
	rows = append(rows, Row{
		Kind: KindVariable, Name: "CLEARML_AGENT_K8S_HOST_MOUNT", older: []string{"CLEARML_AGENT_DOCKER_HOST_MOUNT"}, Verdict: Mapped, Target: "agentctl agent --state",
		Why: "The state is kept below the pod's side of the mount; no docker socket is needed. See [examples/kubernetes](../examples/kubernetes/README.md).",
	})
	rows = append(rows, dropped("Name Debian packages in spec.sandbox.aptPackages, or let tasks name them (spec.sandbox.allow.aptPackages).", "CLEARML_APT_INSTALL")...)
	rows = append(rows, idle("With sandbox.network: host a task has the machine's own address.", "CLEARML_AGENT_FORCE_HOST_MACHINE_IP", "CLEARML_AGENT_HOST_IP")...)
	rows = append(rows, idle("agentctl is one form for machines and pods: nothing of the k8s glue is needed.", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "CLEARML_AGENT_NO_UPDATE",
		"CLEARML_K8S_GLUE_KIND", "CLEARML_K8S_GLUE_START_AGENT_SCRIPT_PATH", "CLEARML_PRE_CUSTOM_CMD", "CLEARML_BOOTSTRAP_CUSTOM_CMD_BASE64")...)
	rows = append(rows, idle("The status report goes out every 30 seconds.", "CLEARML_AGENT_STATUS_REPORT_FREQ_SEC")...)
	rows = append(rows, idle("The console of a task is in the state folder (0600) until the server has it.", "CLEARML_AGENT_TEMP_STDOUT_FILE_DIR")...)
	rows = append(rows, idle("A task's exit code is in its status, and agentctl execute ends with it.", "CLEARML_AGENT_PROPAGATE_EXITCODE")...)
	rows = append(rows, dropped("A task registers its own callback (SDK), which is waited for; agentctl/checkpoint asks for a signal.", "CLEARML_AGENT_ABORT_CALLBACK_CMD", "CLEARML_AGENT_ABORT_CALLBACK_TIMEOUT")...)
	rows = append(rows, idle("It is Windows' alone.", "CLEARML_AGENT_USE_POWERSHELL")...)
	return append(rows, idle("The agent sets it for its tasks; in its own environment it says nothing.", "CLEARML_TASK_ID", "CLEARML_LOG_TASK_TO_BACKEND", "CLEARML_QUEUE_NAME", "CLEARML_AGENT_SERVICE_TASK",
		"CLEARML_GIT_ROOT", "CLEARML_TASK_SCRIPT_ENTRY", "CLEARML_TASK_WORKING_DIR", "CLEARML_VENV_PATH", "CLEARML_CUSTOM_BUILD_OUTPUT", "CLEARML_CUSTOM_BUILD_TASK_CONFIG_JSON", "CLEARML_SUPPRESS_UPDATE_MESSAGE")...)
}
