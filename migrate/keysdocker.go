package migrate

import (
	"strings"

	"agentctl/spec"
)

// opencv are the packages that clearml-agent puts into every container.
var opencv = []string{"libsm6", "libxext6", "libxrender-dev", "libglib2.0-0"}

// keysOfDocker are about containers.
func keysOfDocker() []Row {
	const arguments = "spec.sandbox.arguments, spec.sandbox.shmSize, spec.sandbox.network, spec.sandbox.ulimits, spec.workers[].resources"
	rows := []Row{
		key("agent.default_docker.image", "spec.sandbox.defaultImage", "It counts for workers with mode: sandbox, which is what --docker is here.", "python:3.12-slim", setText("spec.sandbox.defaultImage")),
		secretKey("agent.default_docker.arguments", arguments, "As agent.extra_docker_arguments; there they are for tasks that name no image, here for all.", "--shm-size=8g", dockerArguments),
		secretKey("agent.extra_docker_arguments", arguments, "Each argument becomes the field that it is about. One that would take away what parts tasks from the host has none.", []any{"--shm-size", "8g"}, dockerArguments),
		key("agent.default_docker.match_rules", "spec.sandbox.rules", "They count on every server; with clearml-agent only where a licence has the feature.", []any{map[string]any{
			"image": "python:3.11", "arguments": "-e A=1", "match": map[string]any{"project": "^vision", "script": map[string]any{"binary": "python3.11$"}},
		}}, matchRules),
		key("agent.docker_preprocess_bash_script", "spec.sandbox.setupScript", "", []any{"echo hello"}, setupScript),
		key("agent.extra_docker_shell_script", "spec.sandbox.setupScript", "Run in each sandbox before the task's own setup script, as a script with several lines; one that fails fails the task.", []any{"echo hello"}, setupScript),
		key("agent.docker_install_opencv_libs", "spec.sandbox.aptPackages", "Only where the key is on: nothing is put into images that nobody named.", true, func(t *translation, v any) error {
			on, err := boolOf(v)
			if err == nil && on {
				t.tree.add("spec.sandbox.aptPackages", opencv...)
			}
			return err
		}),
		key("agent.docker_force_pull", "spec.sandbox.pull", "", true, setIf("spec.sandbox.pull", spec.PullAlways)),
		key("agent.disable_task_docker_override", "spec.sandbox.allow.images, spec.sandbox.onDenied", "Tasks have no choice of an image, and what they ask for besides is dropped.", true, func(t *translation, v any) error {
			on, err := boolOf(v)
			if err == nil && on {
				t.tree.set("spec.sandbox.allow.images", []any{})
				t.tree.set("spec.sandbox.onDenied", spec.OnDeniedDrop)
			}
			return err
		}),
	}
	rows = append(rows, refused("It prepares apt, pip and git of the image, which is not needed: environments are built from outside. Write what else it does into spec.sandbox.setupScript, and Debian packages into spec.sandbox.aptPackages.", "agent.docker_init_bash_script")...)
	rows = append(rows, refused("spec.sandbox.allow lists what tasks may ask for, by kind: all else is refused from the start.", "agent.docker_args_filters")...)
	rows = append(rows, refused("spec.sandbox.allow.hostEnv lists the variables of the agent that a task may take (-e NAME).", "agent.docker_allow_host_environ")...)
	rows = append(rows, refused("No port is mapped: with sandbox.network: host, a task listens at the machine's own ports.", "agent.docker_args_allowed_port_range")...)
	rows = append(rows, refused("What ran is in the task's console and in agentctl describe task; the task's container section stays what its owner wrote.", "agent.default_docker.update_back_task")...)
	rows = append(rows, noop("A task may have less than its worker gives, and more only where spec.sandbox.allow says so.", "agent.docker_args_extra_precedes_task", "agent.protected_docker_extra_args")...)
	rows = append(rows, noop("An entry point is never run: the task is.", "agent.forbidden_docker_args")...)
	rows = append(rows, noop("Nothing of the host's ~/.ssh is ever in a sandbox: repositories are fetched from outside.", "agent.disable_ssh_mount")...)
	rows = append(rows, noop("An environment is always built of its own, by the image's Python; spec.packageManager.systemSitePackages shows the image's packages in it.", "agent.docker_use_activated_venv")...)
	rows = append(rows, noop("There is no docker command whose line could show a secret.", "agent.hide_docker_command_env_vars.enabled",
		"agent.hide_docker_command_env_vars.extra_keys", "agent.hide_docker_command_env_vars.parse_embedded_urls")...)
	rows = append(rows, noop("A sandbox has no name; agentctl get tasks lists them.", "agent.docker_container_name_format")...)
	rows = append(rows, deep(NoOp, "A sandbox has no name; agentctl get tasks lists them.", "agent.docker_container_name_format_fields"))
	rows = append(rows, noop("Vaults are of the enterprise server alone; clearml-agent ignores it elsewhere too.", "agent.docker_apply_environment_from_vault")...)
	for _, name := range []string{"bootstrap_folder", "bootstrap_cache", "sdk_cache", "apt_cache", "ssh_folder", "ssh_ro_folder", "pip_cache", "poetry_cache", "vcs_cache", "venvs_cache", "venv_build", "pip_download"} {
		rows = append(rows, noop("No cache and no key of the agent is mounted into sandboxes.", "agent.docker_internal_mounts."+name)...)
	}
	for _, name := range []string{"use_bootstrap", "check_for_latest", "check_for_latest_timeout", "host_bootstrap_dir", "host_bootstrap_cache_dir", "skip_git_installation", "always_use_static_git", "always_install_ca_cert", "always_update", "auto_update_uv_bin", "auto_update_uv_url_gh", "auto_update_uv_url_ghe", "uv_def_python_ver", "uv_python_meta_file", "uv_default_index_url", "uv_index_url", "uv_use_builtin_tls"} {
		rows = append(rows, noop("Nothing is installed inside of containers to start a task: the runner, git and the package managers come from outside.", "agent.bootstrap."+name)...)
	}
	rows = append(rows, refused("Certificates of the machine count, and SSL_CERT_FILE of the agent, which tasks get too.", "agent.bootstrap.map_external_ssl_cert")...)
	return append(rows, refusedIf(true, "Certificates are always checked: name the authority in SSL_CERT_FILE of the agent.", "agent.bootstrap.uv_insecure", "agent.bootstrap.git_insecure")...)
}

// setupScript adds lines to what is run in each sandbox.
func setupScript(t *translation, v any) error {
	var lines []string
	if list, ok := v.([]any); ok {
		for _, e := range list {
			s, ok := e.(string)
			if !ok {
				return refuse("its value is no list of lines")
			}
			lines = append(lines, s)
		}
	} else {
		s, err := textOf(v)
		if err != nil {
			return err
		}
		lines = []string{s}
	}
	before, _ := t.tree.get("spec.sandbox.setupScript").(string)
	t.tree.set("spec.sandbox.setupScript", before+strings.Join(lines, "\n")+"\n")
	return nil
}
