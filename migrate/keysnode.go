package migrate

import (
	"strings"

	"agentctl/spec"
)

// keysOfNode are what the node and its workers are.
func keysOfNode() []Row {
	rows := []Row{
		key("agent.worker_name", "metadata.name", "It is made of lower-case letters, digits, - and dots. A worker's id is NODE:GROUP:INDEX.", "box-7", func(t *translation, v any) error {
			s, err := textOf(v)
			if err != nil {
				return err
			}
			name := spec.NodeName(s)
			if name != s {
				t.say("written as " + name)
			}
			if t.patch {
				t.name, t.touched = name, true
				return nil
			}
			t.tree.set("metadata.name", name)
			return nil
		}),
		key("agent.worker_id", "spec.workers[].id", "", "box-7:gpu0", setText("spec.workers[].id")),
		key("=exec_user", "spec.workers[].runAs", "Of CLEARML_AGENT_EXEC_USER. A root agent runs tasks as another user in any case.", "ml", setText("spec.workers[].runAs")),
		key("=worker_tags", "spec.workers[].tags", "Of CLEARML_WORKER_TAGS and --child-report-tags.", []any{"fast"}, setList("spec.workers[].tags")),
		key("agent.cpu_only", "spec.workers[].gpus, spec.gpus.slots", "", true, cpuOnly),
		key("=visible_gpus", "spec.workers[].gpus, spec.gpus.slots", "Of --gpus and NVIDIA_VISIBLE_DEVICES.", "0,1", visibleGPUs),
		key("=queue_poll_sec", "spec.server.pollInterval", "Of --polling-interval and CLEARML_AGENT_QUEUE_POLL_FREQ_SEC.", 10.0, setSeconds("spec.server.pollInterval")),
		key("agent.uptime", "spec.workers[].windows", "Days and hours become cron windows. Hour 0 and days that wrap around (FRI-MON) count here.", []any{"17-20 SUN,TUE"}, func(t *translation, v any) error { return t.schedule(v, true) }),
		key("agent.downtime", "spec.workers[].windows", "The rest of the week becomes windows.", []any{"8-18 MON-FRI"}, func(t *translation, v any) error { return t.schedule(v, false) }),
		key("agent.abort_callback_max_timeout", "spec.workers[].abortCallback", "", 600.0, setSeconds("spec.workers[].abortCallback")),
		key("agent.enable_task_env", "spec.workers[].taskEnvironment", "", true, setSwitch("spec.workers[].taskEnvironment")),
		key("agent.standalone_mode", "spec.workers[].standalone", "", true, setSwitch("spec.workers[].standalone")),
		key("=log_level", "spec.workers[].logLevel", "Of --log-level and CLEARML_LOG_LEVEL.", "DEBUG", setText("spec.workers[].logLevel")),
		key("=optimization_level", "spec.workers[].pythonOptimize", "Of -O.", 1.0, func(t *translation, v any) error {
			n, err := wholeOf(v)
			if err == nil {
				t.tree.set("spec.workers[].pythonOptimize", n)
			}
			return err
		}),
		{
			Kind: KindKey, Name: "agent.apply_environment", Verdict: NoOp, Why: "The section environment is carried over by agentctl import, unless this is off.",
			apply: func(t *translation, v any) error {
				on, err := boolOf(v)
				if t.bare = err == nil && !on; t.bare {
					return nothing("the section environment is not carried over")
				}
				return nothing("The section environment is carried over by agentctl import.")
			},
		},
		{
			Kind: KindKey, Name: "environment", Verdict: Mapped, Target: "spec.workers[].environment, spec.workers[].hostEnvironment",
			Why:     "Tasks get these variables. One that may be secret is in none of them: it goes to agent.env, with which the agent is started, and its name to hostEnvironment.",
			example: map[string]any{"NCCL_DEBUG": "INFO"}, apply: environment, secret: true, deep: true,
		},
	}
	return rows
}

func environment(t *translation, v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return refuse("it is no section")
	}
	if len(m) == 0 {
		return nothing("is empty")
	}
	if t.bare {
		return nothing("is not applied (agent.apply_environment)")
	}
	var failed []string
	for _, name := range sortedKeys(m) {
		value, err := textOf(m[name])
		name = strings.Trim(name, `"`)
		before := tree(clone(map[string]any(t.tree)).(map[string]any))
		if err == nil {
			err = t.variable("spec.workers[].environment", "spec.workers[].hostEnvironment", name, value)
		}
		if err == nil {
			err = t.valid(t.tree)
		}
		if err != nil {
			t.tree = before
			failed = append(failed, name+": "+err.Error())
		}
	}
	if len(failed) == len(m) {
		return refuse("%s", strings.Join(failed, "; "))
	}
	if len(failed) > 0 {
		t.say("without " + strings.Join(failed, "; "))
	}
	return nil
}

func cpuOnly(t *translation, v any) error {
	on, err := boolOf(v)
	switch {
	case err != nil:
		return err
	case on && t.patch:
		t.tree.set("spec.gpus.slots", spec.SlotsNone)
	case on:
		t.tree.set("spec.workers[].gpus", spec.GPUsNone)
	}
	return nil
}

// visibleGPUs reads devices as --gpus and NVIDIA_VISIBLE_DEVICES have them. The
// variable of a whole node says which slots it has.
func visibleGPUs(t *translation, v any) error {
	s, err := textOf(v)
	if err != nil {
		return err
	}
	switch strings.ToLower(s) {
	case "void":
		if t.patch { // CDI specifications set it so, where they give GPUs
			return nothing("says void, as in a container that may have GPUs all the same: those that the driver shows count")
		}
		return cpuOnly(t, true)
	case "all":
		if t.patch { // images set it so, whatever the operator means
			return nothing("names all GPUs, which leaves to node.yaml which")
		}
		t.tree.set("spec.gpus.slots", spec.SlotsAuto)
		t.tree.set("spec.workers[].gpus", spec.GPUsAll)
		return nil
	case "none", "-1":
		return cpuOnly(t, true)
	}
	var devices, slots []any
	for d := range strings.SplitSeq(s, ",") {
		d = strings.TrimSpace(d)
		if strings.ContainsAny(d, ":.") {
			return refuse("it names a part of a GPU by its number: write the UUID of the MIG instance (nvidia-smi -L) as a slot of spec.gpus")
		}
		var device any = d
		if n, err := wholeOf(d); err == nil {
			device = n
		}
		devices, slots = append(devices, device), append(slots, map[string]any{"device": device})
	}
	if t.patch {
		t.tree.set("spec.gpus.slots", slots)
		return nil
	}
	t.tree.set("spec.gpus.slots", spec.SlotsAuto)
	t.tree.set("spec.workers[].gpus", devices)
	return nil
}
