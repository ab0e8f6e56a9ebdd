package spec

import (
	"time"

	"pgregory.net/rapid"
)

var sandboxes = rapid.Custom(func(t *rapid.T) Sandbox {
	network := rapid.SampledFrom(networks)
	return Sandbox{
		DefaultImage:    optional(t, "image", images),
		Pull:            optional(t, "pull", rapid.SampledFrom([]string{PullAlways, PullNever})),
		CredentialsFile: optional(t, "credentials", paths),
		Registries: optional(t, "registries", rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Registry {
			return Registry{
				Name:            rapid.StringMatching(`[a-z0-9]{1,5}(\.[a-z]{1,3})?(:[1-9][0-9]{0,3})?`).Draw(t, "registry"),
				Mirrors:         optionalList(t, "mirrors", urls),
				Insecure:        rapid.Bool().Draw(t, "insecure"),
				CAFile:          optional(t, "ca", paths),
				CredentialsFile: optional(t, "login", paths),
			}
		}), 1, 2, func(r Registry) string { return r.Name })),
		Images: ImageStore{MaxSize: optional(t, "maxSize", sizes), MinFree: optional(t, "minFree", sizes), MaxAge: optional(t, "maxAge", durations(time.Minute, 100*day))},
		IDs: optional(t, "ids", rapid.Custom(func(t *rapid.T) IDRange {
			return IDRange{rapid.IntRange(1, 1e9).Draw(t, "base"), optional(t, "size", rapid.IntRange(1000, 1e9))}
		})),
		Network:      optional(t, "network", network),
		BuildNetwork: optional(t, "buildNetwork", network),
		ShmSize:      optional(t, "shm", sizes),
		Ulimits:      optionalMap(t, "ulimits", rapid.SampledFrom(ulimitNames), rapid.SampledFrom([]string{"0", "1024:4096", "unlimited", "5:unlimited"})),
		Scratch:      Scratch{Medium: optional(t, "medium", rapid.Just(MediumMemory)), Size: optional(t, "size", sizes)},
		AptPackages:  optionalList(t, "apt", aptPackages),
		Arguments:    arguments.Draw(t, "arguments"),
		SetupScript:  optional(t, "setup", scripts),
		Rules:        optional(t, "rules", rapid.SliceOfN(sandboxRule, 1, 2)),
		CreateAhead:  pointer(t, "ahead", rapid.Bool()),
		OnDenied:     optional(t, "onDenied", rapid.Just(OnDeniedDrop)),
		Keep:         optional(t, "keep", rapid.Just(KeepOnFailure)),
		Allow:        allows.Draw(t, "allow"),
	}
})

var scripts = rapid.SampledFrom([]string{"true\n", "if true; then\n\techo \"a\"  # b\nfi", "cat <<E\n - a: b\n\nE\n\n"})

var sandboxRule = rapid.Custom(func(t *rapid.T) SandboxRule {
	patterns := rapid.SampledFrom([]string{"^a$", ".*", `\.git$`, "a|b", "[0-9]+", "^(x|y)/z"})
	return SandboxRule{
		Match: RuleMatch{
			Project: patterns.Draw(t, "project"), ProjectID: optional(t, "id", patterns), Repository: optional(t, "repository", patterns),
			Branch: optional(t, "branch", patterns), Binary: optional(t, "binary", patterns), Image: optional(t, "image", patterns),
			User: optional(t, "user", patterns), Tags: optionalList(t, "tags", patterns), Requirements: optionalList(t, "requirements", patterns),
		},
		Image: optional(t, "gives", images), Arguments: arguments.Draw(t, "arguments"), SetupScript: optional(t, "setup", scripts),
		Force: rapid.Bool().Draw(t, "force"),
	}
})

var arguments = rapid.Custom(func(t *rapid.T) Arguments {
	return Arguments{
		Env:     optionalMap(t, "env", variables, values),
		HostEnv: optionalList(t, "hostEnv", variables),
		Mounts: optional(t, "mounts", rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) HostMount {
			return HostMount{Source: paths.Filter(func(s string) bool { return hostFolder(s) == "" }).Draw(t, "source"), Writable: rapid.Bool().Draw(t, "writable")}
		}), 1, 1, func(m HostMount) string { return m.Source })),
		Tmpfs:      optionalMap(t, "tmpfs", paths.Filter(func(s string) bool { return mountTarget(s) == "" }), rapid.SampledFrom([]string{"1", "4Gi"})),
		Devices:    optionalList(t, "devices", rapid.SampledFrom([]string{"/dev/kfd", "/dev/dri/card0:/dev/dri/card1", "/dev/x:r", "/dev/x:/dev/y:rw"})),
		Groups:     optionalList(t, "groups", rapid.SampledFrom([]string{"video", "0", "44", "true"})),
		User:       optional(t, "user", rapid.SampledFrom([]string{"1000:1000", "0", "me", "no"})),
		CapAdd:     optionalList(t, "caps", rapid.SampledFrom(capabilities)),
		IPC:        optional(t, "ipc", rapid.Just(IPCHost)),
		Hosts:      optionalMap(t, "hosts", rapid.SampledFrom([]string{"a", "b.example.com"}), addresses),
		DNS:        optionalList(t, "dns", addresses),
		DNSSearch:  optionalList(t, "search", rapid.SampledFrom([]string{"a", "b.example.com", "c"})),
		DNSOptions: optionalList(t, "options", rapid.SampledFrom([]string{"ndots:1", "rotate", "timeout:2"})),
	}
})

var allows = rapid.Custom(func(t *rapid.T) Allow {
	folders := paths.Filter(func(s string) bool { return hostFolder(s) == "" })
	return Allow{
		Images:         rapid.SampledFrom([]List{nil, {}, {"*"}, {"docker.io/library/*", "host"}}).Draw(t, "images"),
		Env:            pointer(t, "env", rapid.Bool()),
		HostEnv:        optionalList(t, "hostEnv", variables),
		ShmSize:        optional(t, "shm", sizes),
		Tmpfs:          optional(t, "tmpfs", sizes),
		Mounts:         optionalList(t, "mounts", folders),
		MountsWritable: optionalList(t, "writable", folders),
		Network:        optionalList(t, "network", rapid.SampledFrom(networks)),
		IPC:            optional(t, "ipc", rapid.Just([]string{IPCHost})),
		Ulimits:        optionalList(t, "ulimits", rapid.SampledFrom(ulimitNames)),
		CapAdd:         optionalList(t, "caps", rapid.SampledFrom(capabilities)),
		Devices:        optionalList(t, "devices", rapid.SampledFrom([]string{"/dev/kfd", "/dev/infiniband", "/dev/x/y"})),
		User:           rapid.Bool().Draw(t, "user"),
		AptPackages:    optionalList(t, "apt", rapid.OneOf(aptPackages, rapid.Just("*"))),
	}
})

var (
	variables   = rapid.StringMatching(`[A-Z_][A-Z0-9_]{0,5}`).Filter(func(s string) bool { return hostVariable(s) == "" })
	aptPackages = rapid.SampledFrom([]string{"git", "libgl1", "libstdc++6", "0ad"})
	values      = rapid.OneOf(queues, rapid.SampledFrom([]string{"", " a ", "a\nb", "\tx"})).Filter(func(s string) bool { return variableValue(s) == "" })
	addresses   = rapid.SampledFrom([]string{"10.0.0.1", "::1", "2001:db8::7"})
)
