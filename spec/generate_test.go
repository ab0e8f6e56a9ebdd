package spec

import (
	"time"
	"unicode"

	"pgregory.net/rapid"
)

// valid draws any node that Decode accepts.
var valid = rapid.Custom(func(t *rapid.T) *Node {
	n := &Node{APIVersion: APIVersion, Kind: KindNode}
	n.Metadata.Name = optional(t, "name", rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?(\.[a-z]{1,3})?`))
	n.Metadata.Labels = optionalMap(t, "labels", rapid.StringMatching(`([a-z]{1,3}\.[a-z]{1,3}/)?[A-Za-z0-9]{1,5}`), rapid.StringMatching(`[a-z0-9]{0,3}`))
	n.Spec = NodeSpec{
		Server: Server{
			URL:             optional(t, "url", urls),
			WebURL:          optional(t, "webUrl", urls),
			FilesURL:        optional(t, "filesUrl", urls),
			CredentialsFile: optional(t, "credentials", paths),
			PollInterval:    optional(t, "poll", durations(200*time.Millisecond, time.Hour)),
			LogAge:          optional(t, "logAge", durations(time.Hour, 24*time.Hour)),
			LogSize:         optional(t, "logSize", sizes),
		},
		GPUs:    GPUs{Slots: slots.Draw(t, "slots")},
		Workers: rapid.SliceOfNDistinct(groups, 0, 4, func(g WorkerSpec) string { return g.Name }).Draw(t, "workers"),
		QueueLimits: someOf(t, "limits", rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) QueueLimit {
			return QueueLimit{Name: queues.Draw(t, "queue"), MaxRunning: rapid.IntRange(1, 9).Draw(t, "most")}
		}), 0, 2, func(q QueueLimit) string { return q.Name })),
		PackageManager: managers.Draw(t, "manager"),
		Git:            Git{CredentialsFile: optional(t, "netrc", paths), CredentialsCommand: commands.Draw(t, "command"), Protocol: optional(t, "protocol", rapid.SampledFrom([]string{ProtocolHTTPS, ProtocolSSH})), SSHUser: optional(t, "sshUser", rapid.Just("me")), SSHPort: optional(t, "sshPort", rapid.IntRange(1, 65535))},
		Cache: Cache{
			MaxEntries: pointer(t, "maxEntries", rapid.IntRange(0, 100)),
			MaxSize:    optional(t, "maxSize", sizes),
			MinFree:    optional(t, "minFree", sizes),
			MaxAge:     optional(t, "maxAge", durations(time.Minute, 100*day)),
			ResolveAge: optional(t, "resolveAge", durations(time.Minute, 100*day)),
			Prebuild:   pointer(t, "prebuild", rapid.Bool()),
		},
		Sandbox: sandboxes.Draw(t, "sandbox"),
	}
	return n
})

// someOf is a list that is left out where it is empty.
func someOf[T any](t *rapid.T, label string, g *rapid.Generator[[]T]) []T {
	list := g.Draw(t, label)
	if len(list) == 0 {
		return nil
	}
	return list
}

var windows = rapid.Custom(func(t *rapid.T) Window {
	return Window{
		Cron:     rapid.SampledFrom([]string{"0 20 * * *", "*/5 8-17 * * 1-5", "30 2 1 1 *"}).Draw(t, "cron"),
		For:      durations(time.Minute, 30*day).Draw(t, "for"),
		TimeZone: optional(t, "zone", rapid.SampledFrom([]string{"UTC", "Europe/Berlin"})),
	}
})

var groups = rapid.Custom(func(t *rapid.T) WorkerSpec {
	name := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?`).Draw(t, "group")
	return WorkerSpec{
		Name:   name,
		ID:     optional(t, "id", rapid.Just("box:gpu0,"+name)),
		Queues: rapid.SliceOfNDistinct(queues, 1, 4, rapid.ID[string]).Draw(t, "queues"),
		Order:  optional(t, "order", rapid.SampledFrom([]string{OrderPriority, OrderRoundRobin})),
		Count:  pointer(t, "count", rapid.IntRange(0, 5)),
		GPUs:   requests.Draw(t, "gpus"),
		Mode:   optional(t, "mode", rapid.SampledFrom([]string{ModeVenv, ModeSandbox})),
		Image:  optional(t, "image", images),
		Sandbox: WorkerSandbox{
			Network: optional(t, "network", rapid.SampledFrom(networks)), ShmSize: optional(t, "shm", sizes),
			Ulimits: optionalMap(t, "ulimits", rapid.SampledFrom(ulimitNames), rapid.Just("1024")), Arguments: optional(t, "arguments", arguments),
		},
		PackageManager: managers.Draw(t, "manager"),
		Resources: Resources{
			CPUs:   optional(t, "cpus", rapid.Float64Range(0.01, 10000)),
			Memory: optional(t, "memory", sizes),
			PIDs:   optional(t, "pids", rapid.IntRange(1, 10000)),

			IOWeight: optional(t, "ioWeight", rapid.IntRange(10, 1000)),
		},
		MaxRuntime:    optional(t, "maxRuntime", durations(0, 1000*day)),
		CreateQueues:  rapid.Bool().Draw(t, "createQueues"),
		Tags:          someOf(t, "tags", rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a100", "true", "x y", "ü:1"}), 1, 3, rapid.ID[string])),
		AbortCallback: optional(t, "abortCallback", durations(time.Second, day)),
		StopGrace:     optional(t, "stopGrace", durations(100*time.Millisecond, day)),
		OnInfrastructureFailure: OnInfrastructureFailure{
			Policy: optional(t, "infrastructure", rapid.Just(InfrastructureRequeue)), Attempts: optional(t, "attempts", rapid.IntRange(1, 1000)),
		},
		Windows:  someOf(t, "windows", rapid.SliceOfN(windows, 0, 2)),
		MaxTasks: optional(t, "maxTasks", rapid.IntRange(1, 1000)),
		Drain: Drain{
			Policy: optional(t, "policy", rapid.SampledFrom([]string{DrainFinish, DrainStop})), Deadline: optional(t, "deadline", durations(0, day)),
			Checkpoint: Checkpoint{Signal: optional(t, "signal", rapid.SampledFrom(CheckpointSignals)), Grace: optional(t, "save", durations(time.Second, day))},
		},
		Environment:     optionalMap(t, "environment", variables, values),
		HostEnvironment: optionalList(t, "hostEnvironment", rapid.StringMatching(`H_[A-Z]{1,3}`)),
		TaskEnvironment: rapid.Bool().Draw(t, "taskEnvironment"),
		PythonOptimize:  rapid.IntRange(0, 2).Draw(t, "optimize"),
		LogLevel:        optional(t, "level", rapid.SampledFrom(LogLevels)),
		Standalone:      rapid.Bool().Draw(t, "standalone"),
		RunAs:           optional(t, "runAs", rapid.SampledFrom([]string{"agentctl", "1000", "0", "_x.y-z", "true", "no"})),
	}
})

var managers = rapid.Custom(func(t *rapid.T) PackageManager {
	lists := func(label string, g *rapid.Generator[string]) List {
		return rapid.OneOf(rapid.Just(List(nil)), rapid.Just(List{}), rapid.Map(rapid.SliceOfNDistinct(g, 1, 3, rapid.ID[string]), func(l []string) List { return l })).Draw(t, label)
	}
	return PackageManager{
		Type:           optional(t, "type", rapid.SampledFrom([]string{ManagerPip, ManagerUV, ManagerConda, ManagerPoetry, ManagerAuto})),
		UseInterpreter: optional(t, "interpreter", rapid.SampledFrom([]string{"python3.12", "/opt/venv/bin/python"})),
		Versions:       optionalMap(t, "versions", rapid.SampledFrom([]string{ManagerPip, ManagerConda}), rapid.StringMatching(`[0-9]{1,2}(\.[0-9]{1,2}){0,2}(rc1)?`)),
		Python: Python{
			Default:       optional(t, "python", rapid.SampledFrom([]string{"3.9", "3.10", "3.12.1"})),
			OnMissing:     optional(t, "onMissing", rapid.SampledFrom([]string{OnMissingNearest, OnMissingInstall})),
			InstallMirror: optional(t, "mirror", urls),
		},
		CondaChannels:            lists("channels", rapid.SampledFrom([]string{"conda-forge", "pytorch", "a/label/b", "https://conda.example.com/x", "file:///srv/channel"})),
		IndexURL:                 optional(t, "index", urls),
		ExtraIndexURLs:           lists("extra", urls),
		IndexCredentialsFile:     optional(t, "netrc", paths),
		IndexCredentialsCommand:  commands.Draw(t, "command"),
		TaskCredentials:          lists("hosts", rapid.SampledFrom([]string{"localhost", "a.example.com", "my_index", "10.0.0.1", "::1"})),
		SystemSitePackages:       pointer(t, "site", rapid.Bool()),
		PriorityPackages:         lists("priority", packages),
		PostPackages:             lists("post", packages),
		PriorityOptionalPackages: lists("priorityOptional", packages),
		PostOptionalPackages:     lists("postOptional", packages),
		RequirementsFrom:         optional(t, "from", rapid.SampledFrom([]string{RequirementsRepository, RequirementsOriginal})),
		InstallFlags:             lists("flags", rapid.SampledFrom([]string{"--no-deps", "--pre", "--only-binary=:all:", "--no-binary=a,b"})),
		ProjectFolder:            optional(t, "folder", rapid.Just(ProjectFolderWorkingDir)),
		TorchIndex:               optional(t, "torch", rapid.SampledFrom([]string{TorchOff, TorchAuto, TorchCPU, "cu124"})),
		TorchIndexURL:            optional(t, "wheels", urls),
		Groups:                   lists("groups", rapid.OneOf(packages, rapid.Just(All))),
		Extras:                   lists("extras", rapid.OneOf(packages, rapid.Just(All))),
		BuildTimeout:             optional(t, "build", durations(time.Second, 30*day)),
	}
})

var (
	commands = rapid.OneOf(rapid.Just(List(nil)), rapid.Just(List{}), rapid.Custom(func(t *rapid.T) List {
		return append(List{paths.Draw(t, "program")}, rapid.SliceOfN(queues, 0, 3).Draw(t, "arguments")...)
	}))
	packages = rapid.StringMatching(`[A-Za-z0-9]([A-Za-z0-9._-]{0,5}[A-Za-z0-9])?`)
	urls     = rapid.StringMatching(`https?://[a-z0-9]{1,5}(\.[a-z]{1,3})?(:[1-9][0-9]{0,3})?(/[a-z0-9.~-]{1,4}){0,2}/?`)
	paths    = rapid.StringMatching(`/[a-z0-9 ._:#'"-]{1,10}(/[a-zäß ]{1,4}){0,2}`).Filter(func(s string) bool { return filePath(s) == "" })
	images   = rapid.SampledFrom([]string{"host", "docker.io/library/python:3.12-slim", "python@sha256:0123456789abcdef"})
	sizes    = rapid.Map(rapid.Int64Range(1, 1<<62), func(n int64) Size { return Size(n) })
	// Names of queues are free text: what YAML has a meaning for must come back as it was.
	queues = rapid.OneOf(
		rapid.StringOfN(rapid.RuneFrom(nil, unicode.Letter, unicode.Digit, unicode.Punct, unicode.Symbol), 1, 12, -1),
		rapid.SampledFrom([]string{"default", "my queue", "~", "null", "yes", "1", "0x1f", "1.5", "2024-01-01", "<<", "- a", "a: b", "a #b", "*a", "&a", "!a", "'", `"`, "@", "%", "{}", "[]", "?", "=", ".inf", "1_0", "12:30"}),
	).Filter(func(s string) bool { return queueName(s) == "" })
	requests = rapid.OneOf(
		rapid.SampledFrom([]GPURequest{{}, {Mode: GPUsNone}, {Mode: GPUsAll}, {Mode: GPUsList, Devices: []string{"0", "GPU-abc-1"}}, {Mode: GPUsList, Devices: []string{"7"}}}),
		rapid.Map(rapid.IntRange(1, maxGPUs), func(n int) GPURequest { return GPURequest{Mode: GPUsCount, Count: n} }),
		rapid.Map(rapid.Float64Range(0.01, 0.99), func(x float64) GPURequest { return GPURequest{Mode: GPUsShare, Share: x} }),
	)
	slots = rapid.SampledFrom([]Slots{{}, {Mode: SlotsAuto}, {Mode: SlotsNone}, {Mode: SlotsList, List: []Slot{{Device: "0"}, {Device: "MIG-1/2", Shares: 4}}}})
)

func durations(from, to time.Duration) *rapid.Generator[Duration] {
	return rapid.OneOf(
		rapid.Map(rapid.Int64Range(int64(from), int64(to)), func(n int64) Duration { return Duration(n) }),
		rapid.Map(rapid.Int64Range(int64(from/time.Second)+1, int64(to/time.Second)), func(n int64) Duration { return Duration(n) * Duration(time.Second) }),
	)
}

// optional draws the zero value or one of g.
func optional[T any](t *rapid.T, label string, g *rapid.Generator[T]) T {
	var zero T
	return rapid.OneOf(rapid.Just(zero), g).Draw(t, label)
}

func pointer[T any](t *rapid.T, label string, g *rapid.Generator[T]) *T {
	return rapid.OneOf(rapid.Just((*T)(nil)), rapid.Map(g, func(x T) *T { return &x })).Draw(t, label)
}

func optionalList(t *rapid.T, label string, g *rapid.Generator[string]) []string {
	return optional(t, label, rapid.SliceOfNDistinct(g, 1, 3, rapid.ID[string]))
}

func optionalMap(t *rapid.T, label string, k, v *rapid.Generator[string]) map[string]string {
	return optional(t, label, rapid.MapOfN(k, v, 1, 2))
}
