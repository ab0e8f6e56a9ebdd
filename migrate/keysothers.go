package migrate

import (
	"maps"
	"math"
	"slices"

	"agentctl/spec"
)

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

const inState = "Environments, repositories, images and downloads are kept in the state folder (agentctl agent --state), once for all workers."

// keysOfFolders are about what is kept on the disk.
func keysOfFolders() []Row {
	rows := []Row{
		key("agent.venvs_cache.max_entries", "spec.cache.maxEntries", "", 30.0, func(t *translation, v any) error {
			n, err := wholeOf(v)
			if err == nil {
				t.tree.set("spec.cache.maxEntries", n)
			}
			return err
		}),
		key("agent.venvs_cache.free_space_threshold_gb", "spec.cache.minFree", "Below it no task is taken; nothing is deleted that a task uses.", 5.0, func(t *translation, v any) error {
			x, err := numberOf(v)
			switch {
			case err != nil:
				return err
			case x <= 0:
				return nothing("asks for no limit; 1Gi stays free in any case")
			}
			t.tree.set("spec.cache.minFree", spec.Size(math.Round(x*1024)*(1<<20)).String())
			return nil
		}),
	}
	rows = append(rows, noop(inState, "agent.venvs_dir", "agent.venvs_cache.path", "agent.vcs_cache.path", "agent.pip_download_cache.enabled", "agent.pip_download_cache.path",
		"agent.docker_pip_cache", "agent.docker_apt_cache", "agent.docker_poetry_cache")...)
	rows = append(rows, noop("No environment is copied, so there is nothing to wait for.", "agent.venvs_cache.lock_timeout")...)
	rows = append(rows, noop("A mirror that can't be fetched into is made anew.", "agent.vcs_cache.clone_on_pull_fail")...)
	return append(rows, refusedIf(false, "Repositories are always kept as mirrors: each task has a checkout of its own nevertheless.", "agent.vcs_cache.enabled")...)
}

// keysOfOthers are all others.
func keysOfOthers() []Row {
	rows := noop("Every change of node.yaml is taken up at once, and none ends a running task.", "agent.reload_config")
	rows = append(rows, noop("The status report of a worker, every 30 seconds, names its task.", "agent.task_ping_interval_sec")...)
	rows = append(rows, noop("A fault of one task never ends the agent, and one of the agent never ends a task.", "agent.crash_on_exception")...)
	rows = append(rows, noop("Of lines that write over each other (progress bars) the last of each batch is sent.", "agent.suppress_carriage_return")...)
	rows = append(rows, noop("The console waits on the disk until the server has it, within a limit that is announced.", "agent.truncate_task_output_files", "agent.log_files_buffering")...)
	rows = append(rows, noop("agentctl asks nobody for newer versions.", "agent.disable_agent_update_check")...)
	rows = append(rows, noop("agentctl agent --verbose logs more.", "agent.debug")...)
	rows = append(rows, noop("No secret is printed anywhere.", "agent.sanitize_config_printout.hide_secrets", "agent.sanitize_config_printout.hide_secrets_recursive",
		"agent.sanitize_config_printout.dont_hide_secrets", "agent.sanitize_config_printout.docker_commands", "agent.sanitize_config_printout.urls")...)
	rows = append(rows, noop("The disk of the state folder and all GPUs are reported; dashboards of clusters are of the enterprise server.", "agent.resource_monitoring.disk_use_path",
		"agent.resource_monitoring.default_gpu_utilization", "agent.resource_monitoring.cluster_report_interval_sec", "agent.resource_dashboard.default_cluster_name")...)
	rows = append(rows, noop("The agent writes no files that others need.", "agent.apply_files")...)
	rows = append(rows, refused("What a script would build, an image holds: build it there and name it in spec.sandbox.defaultImage; lines for each task go to spec.sandbox.setupScript; an interpreter that is there is named in spec.packageManager.useInterpreter.", "agent.custom_build_script")...)
	rows = append(rows, deep(Refused, "Put these files into the image, or into a folder of the host that is mounted (spec.sandbox.arguments.mounts).", "files"))
	rows = append(rows, sdkKeys()...)
	rows = append(rows, deep(Refused, "The SDK's settings belong to who writes the task: Task.init, or a clearml.conf in its repository that it names in CLEARML_CONFIG_FILE. A task here reads no clearml.conf of the machine, since there are keys in it.", "sdk"))
	return append(rows, deep(NoOp, "agentctl logs to the standard error.", "logging"))
}

func deep(verdict Verdict, why, name string) Row {
	return Row{Kind: KindKey, Name: name, Verdict: verdict, Why: why, deep: true}
}

// sdkKeys are those that clearml-agent reads itself, as variables: where tasks keep
// their files.
func sdkKeys() []Row {
	var rows []Row
	for _, k := range [][2]string{{"sdk.aws.s3.key", "AWS_ACCESS_KEY_ID"}, {"sdk.aws.s3.secret", "AWS_SECRET_ACCESS_KEY"}, {"sdk.aws.s3.region", "AWS_DEFAULT_REGION"}} {
		r := secretKey(k[0], "spec.workers[].hostEnvironment", "Tasks get it as "+k[1]+", from the agent's own environment, for which it is written to agent.env.", "value", func(t *translation, v any) error {
			s, err := textOf(v)
			if err != nil {
				return err
			}
			return t.fromAgent("spec.workers[].hostEnvironment", k[1], s)
		})
		rows = append(rows, r)
	}
	return rows
}
