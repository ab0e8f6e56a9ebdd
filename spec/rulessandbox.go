package spec

import (
	"time"
)

// Names of resource limits, and of the capabilities that may be given: those that
// reach out of a sandbox are none of them.
var (
	ulimitNames  = []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}
	capabilities = []string{
		"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "NET_ADMIN", "NET_BIND_SERVICE",
		"NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_NICE", "SYS_PTRACE", "SYS_RESOURCE",
	}
	networks = []string{NetworkHost, NetworkPrivate, NetworkNone}
)

// Rules of elements that several fields have.
var (
	variableRule   = &rule{form: variableForm, check: nameLength(255), fix: variableFix}
	hostEnvRule    = &rule{form: variableForm, fix: variableFix, check: hostVariable}
	valueRule      = &rule{check: variableValue, fix: "write a text without a secret in it", mayBeEmpty: true, bare: true}
	folderRule     = &rule{check: hostFolder, sketch: pathSketch, fix: pathFix}
	deviceNodeRule = &rule{form: deviceNodeForm, fix: "write the whole path of a device or a folder of them, as /dev/infiniband"}
	addressRule    = &rule{check: address, fix: "write an address, as 10.0.0.53"}
	domainRule     = &rule{check: hostName, sketch: hostSketch, fix: hostFix}
	ulimitsRule    = rule{
		keys: &rule{enum: ulimitNames}, each: &rule{form: ulimitForm, check: ulimitOrder, fix: "write a number, two as 1024:4096, or unlimited", bare: true},
		example: "{nofile: 65536}",
	}
	aptRule = &rule{form: aptForm, check: nameLength(maxName), fix: "write the name of a package of Debian, as libgl1"}
)

var sandboxRules = map[string]rule{
	"Sandbox.defaultImage":    {form: imageForm, check: nameLength(255), fix: imageFix, example: "docker.io/library/python:3.12-slim"},
	"Sandbox.pull":            {enum: []string{PullMissing, PullAlways, PullNever}, example: PullMissing},
	"Sandbox.credentialsFile": {check: filePath, sketch: pathSketch, fix: pathFix, example: "/etc/agentctl/registries.json"},
	"Sandbox.registries":      {example: "[{name: registry.example.com:5000}]", each: &rule{example: "{name: registry.example.com:5000}"}, most: maxNames},
	"Sandbox.images":          {example: "{maxSize: 200Gi}"},
	"Sandbox.ids":             {example: "{base: 231072, size: 65536}"},
	"Sandbox.network":         {enum: networks, example: NetworkHost},
	"Sandbox.buildNetwork":    {enum: networks, example: NetworkHost},
	"Sandbox.metadata":        {example: "true"},
	"Sandbox.hostPorts":       {each: &rule{min: 1, max: 65535}, unique: true, most: maxNames, example: "[5432]"},
	"Sandbox.shmSize":         {check: aboveZero, fix: "write a size above 0", example: "1Gi"},
	"Sandbox.ulimits":         ulimitsRule,
	"Sandbox.scratch":         {example: "{size: 50Gi}"},
	"Sandbox.aptPackages":     {each: aptRule, unique: true, most: maxNames, example: "[libgl1]"},
	"Sandbox.arguments":       {example: "{env: {NCCL_DEBUG: INFO}}"},
	"Sandbox.setupScript":     {check: shellScript, fix: "write the text of a shell script", example: `"mkdir -p /tmp/cache"`},
	"Sandbox.rules":           {example: `[{match: {project: "^vision"}, image: "docker.io/library/python:3.12"}]`, each: &rule{example: `{match: {project: "^vision"}}`}, most: maxNames},
	"Sandbox.createAhead":     {example: "false"},
	"Sandbox.onDenied":        {enum: []string{OnDeniedFail, OnDeniedDrop}, example: OnDeniedFail},
	"Sandbox.keep":            {enum: []string{KeepNever, KeepOnFailure}, example: KeepNever},
	"Sandbox.allow":           {example: "{shmSize: 16Gi}"},

	"WorkerSandbox.network":   {enum: networks, example: NetworkHost},
	"WorkerSandbox.shmSize":   {check: aboveZero, fix: "write a size above 0", example: "8Gi"},
	"WorkerSandbox.ulimits":   ulimitsRule,
	"WorkerSandbox.arguments": {example: "{env: {NCCL_DEBUG: INFO}}"},

	"Registry.name":            {required: "name the registry, as `name: registry.example.com:5000`", form: registryForm, check: nameLength(255), fix: "write a host, with a port if there is one, as registry.example.com:5000"},
	"Registry.mirrors":         {each: &rule{check: mirrorURL, sketch: serverSketch}, unique: true, most: maxNames, example: "[https://mirror.example.com]"},
	"Registry.insecure":        {example: "true"},
	"Registry.caFile":          {check: filePath, sketch: pathSketch, fix: pathFix, example: "/etc/agentctl/registry.pem"},
	"Registry.credentialsFile": {check: filePath, sketch: pathSketch, fix: pathFix, example: "/etc/agentctl/registries.json"},

	"ImageStore.maxSize": {check: aboveZero, fix: "write a size above 0, or delete the line for no limit", example: "200Gi"},
	"ImageStore.minFree": {check: aboveZero, fix: "write a size above 0", example: "20Gi"},
	"ImageStore.maxAge":  {check: atLeast(time.Minute, 3650*day), fix: "write 1m to 3650d, or delete the line for no limit", example: "30d"},

	"IDRange.base": {required: "write the first id, as `base: 231072`", min: 1, max: maxID},
	"IDRange.size": {min: 1000, max: maxID, example: "65536"},

	"Scratch.medium": {enum: []string{MediumDisk, MediumMemory}, example: MediumDisk},
	"Scratch.size":   {check: aboveZero, fix: "write a size above 0, or delete the line for no limit", example: "50Gi"},

	"Arguments.env": {
		keys: variableRule, each: valueRule, example: "{NCCL_DEBUG: INFO}",
	},
	"Arguments.hostEnv":    {each: hostEnvRule, unique: true, most: maxNames, example: "[HF_TOKEN]"},
	"Arguments.mounts":     {example: "[{source: /data}]", each: &rule{example: "{source: /data}"}, most: maxNames},
	"Arguments.tmpfs":      {keys: &rule{check: mountTarget, sketch: pathSketch, fix: pathFix}, each: &rule{check: sizeText, sketch: sizeForm.String(), fix: sizeFix}, example: "{/scratch: 4Gi}"},
	"Arguments.devices":    {each: &rule{form: deviceArgForm, fix: "write it as /dev/NAME or /dev/NAME:/dev/NAME:rw"}, unique: true, most: maxNames, example: "[/dev/kfd]"},
	"Arguments.groups":     {each: &rule{form: userForm, fix: "write the name or the number of a group", bare: true}, unique: true, most: maxNames, example: "[video]"},
	"Arguments.user":       {form: insideForm, fix: "write USER or USER:GROUP, by name or number", example: `"1000:1000"`},
	"Arguments.capAdd":     {each: &rule{enum: capabilities}, unique: true, example: "[SYS_PTRACE]"},
	"Arguments.ipc":        {enum: []string{IPCHost}, example: IPCHost},
	"Arguments.hosts":      {keys: domainRule, each: addressRule, example: "{registry.example.com: 10.0.0.7}"},
	"Arguments.dns":        {each: addressRule, unique: true, most: maxNames, example: "[10.0.0.53]"},
	"Arguments.dnsSearch":  {each: domainRule, unique: true, most: maxNames, example: "[example.com]"},
	"Arguments.dnsOptions": {each: &rule{form: resolverForm, check: nameLength(maxName), fix: "write an option of the resolver, as ndots:1"}, unique: true, most: maxNames, example: "[ndots:1]"},

	"SandboxRule.match":       {required: "write what a task has to be, as `match: {project: \"^vision\"}`"},
	"SandboxRule.image":       {form: imageForm, check: nameLength(255), fix: imageFix, example: "docker.io/library/python:3.12-slim"},
	"SandboxRule.arguments":   {example: "{env: {NCCL_DEBUG: INFO}}"},
	"SandboxRule.setupScript": {check: shellScript, fix: "write the text of a shell script", example: `"mkdir -p /tmp/cache"`},
	"SandboxRule.force":       {example: "true"},

	"RuleMatch.project":      {check: pattern, fix: patternFix, example: `"^Team/vision"`},
	"RuleMatch.projectId":    {check: pattern, fix: patternFix, example: `"^b0b9$"`},
	"RuleMatch.repository":   {check: pattern, fix: patternFix, example: `"/vision\\.git$"`},
	"RuleMatch.branch":       {check: pattern, fix: patternFix, example: `"^main$"`},
	"RuleMatch.binary":       {check: pattern, fix: patternFix, example: `"python3\\.12$"`},
	"RuleMatch.image":        {check: pattern, fix: patternFix, example: `"^nvcr\\.io/"`},
	"RuleMatch.user":         {check: pattern, fix: patternFix, example: `"^b0b9$"`},
	"RuleMatch.tags":         {each: &rule{check: pattern, fix: patternFix}, unique: true, most: maxNames, example: "[^gpu$]"},
	"RuleMatch.requirements": {each: &rule{check: pattern, fix: patternFix}, unique: true, most: maxNames, example: `["^torch==2"]`},

	"HostMount.source":   {required: "name the path on the host, as `source: /data`", check: hostFolder, sketch: pathSketch, fix: pathFix},
	"HostMount.target":   {check: mountTarget, sketch: pathSketch, fix: pathFix, example: "/data"},
	"HostMount.writable": {example: "true"},

	"Allow.images":         {each: &rule{form: imagesForm, check: nameLength(255), fix: "write an image, or its beginning up to a / or a :, with * after it, as docker.io/library/*"}, unique: true, most: maxNames, example: "[docker.io/library/*]"},
	"Allow.env":            {example: "true"},
	"Allow.hostEnv":        {each: hostEnvRule, unique: true, most: maxNames, example: "[HF_TOKEN]"},
	"Allow.shmSize":        {check: aboveZero, fix: "write a size above 0", example: "16Gi"},
	"Allow.tmpfs":          {check: aboveZero, fix: "write a size above 0", example: "4Gi"},
	"Allow.mounts":         {each: folderRule, unique: true, most: maxNames, example: "[/data]"},
	"Allow.mountsWritable": {each: folderRule, unique: true, most: maxNames, example: "[/scratch]"},
	"Allow.network":        {each: &rule{enum: networks}, unique: true, example: "[private]"},
	"Allow.ipc":            {each: &rule{enum: []string{IPCHost}}, unique: true, example: "[host]"},
	"Allow.ulimits":        {each: &rule{enum: ulimitNames}, unique: true, example: "[memlock, stack]"},
	"Allow.capAdd":         {each: &rule{enum: capabilities}, unique: true, example: "[SYS_PTRACE]"},
	"Allow.devices":        {each: deviceNodeRule, unique: true, most: maxNames, example: "[/dev/infiniband]"},
	"Allow.user":           {example: "true"},
	"Allow.aptPackages":    {each: &rule{form: aptAnyForm, check: nameLength(maxName), fix: aptRule.fix + `, or "*" for any`}, unique: true, most: maxNames, example: "[libgl1]"},
}
