package spec

import (
	"fmt"
	"reflect"
	"regexp"
	"time"

	"github.com/samber/lo"
)

// Class says when a change of a field takes effect.
type Class string

// Classes of a Change, from the mildest on.
const (
	// ClassLive takes effect at once, or with the next task of each worker.
	ClassLive Class = "live"
	// ClassWaits takes effect as running tasks end and free what they hold.
	ClassWaits Class = "waits"
	// ClassDrain ends workers: each takes no more tasks and goes when it is idle.
	ClassDrain Class = "drain"
)

// Limits of a document and of what it may ask for.
const (
	MaxSize     = 1 << 20 // bytes of a file
	maxDepth    = 30      // nested lists and mappings
	maxAliases  = 100     // of one document
	maxVisits   = 50000   // values of one document, aliases followed
	maxProblems = 200
	maxWorkers  = 1000 // of a node, counts added up
	maxGPUs     = 128
	maxName     = 63
	maxNames    = 200     // in one list
	maxCommand  = 20      // a program and its arguments
	maxOrder    = 1000000 // of a patch
)

// rule is what a field may hold beyond its type, and when a change takes effect.
type rule struct {
	required   string             // missing is an error, and this is what to write
	enum       []string           // allowed values
	later      []string           // values that a later release allows
	form       *regexp.Regexp     // of a text
	check      func(v any) string // what is wrong with a value, "" if nothing is
	sketch     string             // a pattern for editors, which tells less than check
	fix        string             // for form and check
	min, max   float64            // of a number, where max > 0
	each       *rule              // of the elements of a list or a map
	first      *rule              // of the first element of a list, where it is another
	most       int                // elements of a list, where > 0
	keys       *rule              // of the keys of a map
	unique     bool               // elements
	example    string             // as it is written in a document
	class      Class              // "" is live
	bare       bool               // a number may stand for a text
	mayBeEmpty bool
}

// element is the rule of the element at an index of a list, or of any value of a map.
func (r rule) element(index int) rule {
	switch {
	case index == 0 && r.first != nil:
		return *r.first
	case r.each == nil:
		return rule{}
	}
	return *r.each
}

// advice shows how the field is written, where there is an example.
func (r rule) advice(key, otherwise string) string {
	switch {
	case r.example == "":
		return otherwise
	case key == "":
		return "write it as `" + r.example + "`"
	}
	return fmt.Sprintf("write it as `%s: %s`", key, r.example)
}

func (r rule) classOf() Class {
	if r.class == "" {
		return ClassLive
	}
	return r.class
}

// ruleOf is the rule of the field with a yaml key of a struct.
func ruleOf(t reflect.Type, key string) rule { return rules[t.Name()+"."+key] }

// Sketches of what the checks ask for.
const (
	pathSketch        = `^/`
	interpreterSketch = `^(/|(python|pypy)(3(\.[0-9]{1,2}){0,2})?$)`
	serverSketch      = `^https?://[^/@?#\s]+(/[^?#\s]*)?$`
	hostSketch        = `^[a-z0-9_:]([a-z0-9_.:-]*[a-z0-9_:])?$`
	indexSketch       = `^(https?://[^/@?#\s]+(/[^?#\s]*)?|file:///[^?#\s]*)$`
)

// commandRule is that of a program with its arguments.
var commandRule = rule{
	first: &rule{check: programPath, sketch: pathSketch, fix: "write the whole path of a program, as /usr/local/bin/credentials"},
	each:  &rule{check: argument, fix: "write one argument, without a secret in it"},
	most:  maxCommand, example: "[/usr/local/bin/credentials, --vault, ml]",
}

// rules hold for the fields named TYPE.KEY; a test keeps the list complete.
var rules = lo.Assign(nodeRules, sandboxRules)

var nodeRules = map[string]rule{
	"Node.apiVersion": {required: "write `apiVersion: " + APIVersion + "`", enum: []string{APIVersion}},
	"Node.kind":       {required: "write `kind: " + KindNode + "`", enum: []string{KindNode}},
	"Node.metadata":   {example: "{name: gpu-07}"},
	"Node.match":      {example: "{hostname: \"gpu-*\"}"},
	"Node.spec":       {required: "write `spec:` with `workers:` below it"},

	"NodePatch.apiVersion": {required: "write `apiVersion: " + APIVersion + "`", enum: []string{APIVersion}},
	"NodePatch.kind":       {required: "write `kind: " + KindNodePatch + "`", enum: []string{KindNodePatch}},
	"NodePatch.metadata":   {required: "give the patch a name, as `metadata: {name: rack-r2}`", example: "{name: rack-r2}"},
	"NodePatch.match":      {example: "{labels: {rack: r2}}"},
	"NodePatch.order":      {min: 0, max: maxOrder, example: "10"},
	"NodePatch.spec":       {required: "write the fields to change below `spec:`"},
	"PatchMetadata.name":   {required: "give the patch a name, as `name: rack-r2`", form: nodeForm, fix: nodeFix, example: "rack-r2", check: nameLength(253)},

	"Match.hostname": {form: hostnameForm, fix: hostnameFix, example: "\"gpu-*\""},
	"Match.labels": {
		example: "{rack: r2}",
		keys:    &rule{form: labelKeyForm, fix: labelFix},
		each:    &rule{form: labelForm, fix: labelFix, mayBeEmpty: true},
	},

	"Metadata.name": {form: nodeForm, fix: nodeFix, example: "gpu-07", check: nameLength(253)},
	"Metadata.labels": {
		example: "{rack: r2}",
		keys:    &rule{form: labelKeyForm, fix: labelFix},
		each:    &rule{form: labelForm, fix: labelFix, mayBeEmpty: true},
	},

	"NodeSpec.server":         {example: "{url: https://api.example.com}"},
	"NodeSpec.gpus":           {example: "{slots: auto}"},
	"NodeSpec.workers":        {required: "write `workers: []` to run none", example: "[{name: train, queues: [default]}]", each: &rule{example: "{name: train, queues: [default]}"}},
	"NodeSpec.queueLimits":    {example: "[{name: default, maxRunning: 2}]", most: maxNames, each: &rule{example: "{name: default, maxRunning: 2}"}},
	"NodeSpec.packageManager": {example: "{type: pip}"},
	"NodeSpec.git":            {example: "{credentialsFile: /etc/agentctl/git.netrc}"},
	"NodeSpec.cache":          {example: "{maxEntries: 20}"},
	"NodeSpec.sandbox":        {example: "{network: host}"},

	"Server.url":             {check: serverURL, sketch: serverSketch, example: "https://api.example.com"},
	"Server.webUrl":          {check: serverURL, sketch: serverSketch, example: "https://app.example.com"},
	"Server.filesUrl":        {check: serverURL, sketch: serverSketch, example: "https://files.example.com"},
	"Server.credentialsFile": {check: filePath, sketch: pathSketch, fix: pathFix, example: "/etc/agentctl/clearml.credentials"},
	"Server.pollInterval":    {check: atLeast(200*time.Millisecond, time.Hour), fix: "write 200ms to 1h", example: "2s"},
	"Server.logAge":          {check: atLeast(time.Hour, 10*365*24*time.Hour), fix: "write 1h to 3650d", example: "30d"},
	"Server.logSize":         {check: aboveZero, fix: "write a size as 10Gi, or leave it out for no limit", example: "10Gi"},

	"GPUs.slots":  {example: "auto", class: ClassWaits},
	"Slot.device": {required: "write the index or UUID of a GPU, as `device: 0`", form: deviceForm, fix: deviceFix, bare: true, example: "0", class: ClassWaits},
	"Slot.shares": {min: 1, max: 1000, example: "4", class: ClassWaits},

	"WorkerSpec.name": {required: "give each group of workers a name of its own, as `name: train`", form: nameForm, fix: nameFix, check: nameLength(maxName), example: "train", class: ClassDrain},
	"WorkerSpec.id":   {check: workerID, fix: "write printable characters without spaces, at most 128 bytes, as gpu-07:gpu0", example: "\"gpu-07:gpu0\""},
	"WorkerSpec.queues": {
		required: "name at least one queue, as `queues: [default]`",
		each:     &rule{check: queueName, fix: "write the name or the id of a queue"},
		unique:   true, example: "[urgent, default]",
	},
	"WorkerSpec.createQueues": {example: "true"},
	"WorkerSpec.tags": {
		each: &rule{check: queueName, fix: "write a short text without control characters"}, unique: true, most: maxNames, example: "[a100, rack-2]",
	},
	"WorkerSpec.abortCallback":           {check: atLeast(time.Second, 24*time.Hour), fix: "write 1s to 24h", example: "30m"},
	"WorkerSpec.order":                   {enum: []string{OrderPriority, OrderRoundRobin}, example: OrderPriority},
	"WorkerSpec.count":                   {min: 0, max: maxWorkers, example: "2", class: ClassDrain},
	"WorkerSpec.gpus":                    {example: "1", class: ClassWaits},
	"WorkerSpec.mode":                    {enum: []string{ModeVenv, ModeSandbox}, example: ModeVenv},
	"WorkerSpec.image":                   {form: imageForm, check: nameLength(255), fix: imageFix, example: "docker.io/library/python:3.12-slim"},
	"WorkerSpec.sandbox":                 {example: "{arguments: {env: {NCCL_DEBUG: INFO}}}"},
	"WorkerSpec.packageManager":          {example: "{type: pip}"},
	"WorkerSpec.resources":               {example: "{cpus: 4, memory: 32Gi}"},
	"WorkerSpec.maxRuntime":              {example: "24h"},
	"WorkerSpec.stopGrace":               {check: atLeast(100*time.Millisecond, 24*time.Hour), fix: "write 100ms to 24h", example: "30s"},
	"WorkerSpec.windows":                 {example: `[{cron: "0 20 * * *", for: 10h}]`, most: 50, each: &rule{example: `{cron: "0 20 * * *", for: 10h}`}},
	"WorkerSpec.maxTasks":                {min: 1, max: 1000000, example: "100"},
	"WorkerSpec.drain":                   {example: "{policy: finish}"},
	"WorkerSpec.onInfrastructureFailure": {example: "{policy: requeue}"},
	"WorkerSpec.runAs":                   {form: userForm, fix: "write the name or the number of a user, as agentctl or \"1000\"", example: "agentctl"},
	"WorkerSpec.environment": {
		keys: &rule{form: variableForm, check: taskVariable, fix: variableFix}, each: valueRule, example: "{NCCL_DEBUG: INFO}",
	},
	"WorkerSpec.hostEnvironment": {each: hostEnvRule, unique: true, most: maxNames, example: "[HF_TOKEN]"},
	"WorkerSpec.taskEnvironment": {example: "true"},
	"WorkerSpec.pythonOptimize":  {min: 0, max: 2, example: "1"},
	"WorkerSpec.logLevel":        {enum: LogLevels, example: "INFO"},
	"WorkerSpec.standalone":      {example: "true"},

	"QueueLimit.name":       {required: "name the queue, as `name: default`", check: queueName, fix: "write the name or the id of a queue", example: "default"},
	"QueueLimit.maxRunning": {required: "write a number, as `maxRunning: 2`", min: 1, max: maxWorkers, example: "2"},

	"Window.cron":     {required: "write when it opens, as `cron: \"0 20 * * *\"`", check: cronLine, fix: "write minute, hour, day of the month, month and day of the week, as \"0 20 * * 1-5\"", example: `"0 20 * * *"`},
	"Window.for":      {required: "write how long it is open, as `for: 10h`", check: atLeast(time.Minute, 31*day), fix: "write 1m to 31d", example: "10h"},
	"Window.timeZone": {check: timeZone, fix: "write a name as Europe/Berlin or UTC", example: "Europe/Berlin"},

	"Resources.cpus":     {min: 0.01, max: 10000, example: "4"},
	"Resources.memory":   {check: aboveZero, fix: "write a size above 0", example: "32Gi"},
	"Resources.pids":     {min: 1, max: 4194304, example: "4096"},
	"Resources.ioWeight": {min: 10, max: 1000, example: "500"},

	"OnInfrastructureFailure.policy":   {enum: []string{InfrastructureReport, InfrastructureRequeue}, example: InfrastructureRequeue},
	"OnInfrastructureFailure.attempts": {min: 1, max: 1000, example: "3"},

	"Drain.policy":      {enum: []string{DrainFinish, DrainRequeue, DrainStop}, example: DrainFinish},
	"Drain.deadline":    {example: "1h"},
	"Drain.checkpoint":  {example: "{grace: 2m}"},
	"Checkpoint.signal": {enum: CheckpointSignals, example: "SIGUSR1"},
	"Checkpoint.grace":  {check: atLeast(time.Second, 24*time.Hour), fix: "write 1s to 24h", example: "2m"},

	"PackageManager.type": {enum: []string{ManagerPip, ManagerUV, ManagerConda, ManagerPoetry, ManagerAuto}, example: ManagerPip},
	"PackageManager.versions": {
		example: `{pip: "25.3"}`,
		keys:    &rule{enum: []string{ManagerPip, ManagerUV, ManagerConda, ManagerPoetry}},
		each:    &rule{form: versionForm, fix: `write a version in quotes, as "25.3"`},
	},
	"PackageManager.useInterpreter": {check: interpreter, sketch: interpreterSketch, fix: "write the whole path, as /opt/venv/bin/python, or a name, as python3.12", example: "/opt/venv/bin/python"},
	"PackageManager.python":         {example: `{default: "3.12"}`},
	"PackageManager.condaChannels": {
		example: "[conda-forge]", unique: true,
		each: &rule{check: channel, fix: "write the name or the URL of a channel, as conda-forge or file:///srv/channel"},
	},
	"PackageManager.indexUrl":                 {check: indexURL, sketch: indexSketch, example: "https://pypi.example.com/simple"},
	"PackageManager.extraIndexUrls":           {each: &rule{check: indexURL, sketch: indexSketch}, unique: true, example: "[https://pypi.example.com/simple]"},
	"PackageManager.indexCredentialsFile":     {check: filePath, sketch: pathSketch, fix: pathFix, example: "/etc/agentctl/netrc"},
	"PackageManager.indexCredentialsCommand":  commandRule,
	"PackageManager.taskCredentials":          {each: &rule{check: hostName, sketch: hostSketch, fix: hostFix}, unique: true, most: maxNames, example: "[pypi.example.com]"},
	"PackageManager.systemSitePackages":       {example: "true"},
	"PackageManager.priorityPackages":         {each: &rule{form: packageForm, fix: packageFix}, unique: true, most: maxNames, example: "[cython, numpy]"},
	"PackageManager.postPackages":             {each: &rule{form: packageForm, fix: packageFix}, unique: true, most: maxNames, example: "[horovod]"},
	"PackageManager.priorityOptionalPackages": {each: &rule{form: packageForm, fix: packageFix}, unique: true, most: maxNames, example: "[pygobject]"},
	"PackageManager.postOptionalPackages":     {each: &rule{form: packageForm, fix: packageFix}, unique: true, most: maxNames, example: "[apex]"},
	"PackageManager.requirementsFrom":         {enum: []string{RequirementsTask, RequirementsRepository, RequirementsOriginal}, example: RequirementsRepository},
	"PackageManager.installFlags":             {each: &rule{check: installFlag, sketch: flagSketch}, unique: true, most: maxNames, example: "[--prefer-binary]"},
	"PackageManager.projectFolder":            {enum: []string{ProjectFolderRoot, ProjectFolderWorkingDir}, example: ProjectFolderWorkingDir},
	"PackageManager.torchIndex":               {form: torchForm, fix: "write off, auto, cpu, or cu and the version of CUDA, as cu124", example: TorchAuto},
	"PackageManager.torchIndexUrl":            {check: indexURL, sketch: indexSketch, example: "https://pytorch.example.com/whl"},
	"PackageManager.groups":                   {each: &rule{form: groupForm, fix: groupFix}, unique: true, most: maxNames, example: "[train]"},
	"PackageManager.extras":                   {each: &rule{form: groupForm, fix: groupFix}, unique: true, most: maxNames, example: "[gpu]"},
	"PackageManager.buildTimeout":             {check: atLeast(time.Second, 30*day), fix: "write 1s to 30d, or delete the line for no limit", example: "1h"},

	"Python.default":       {form: pythonForm, fix: `write a version, as "3.12"`, example: `"3.12"`},
	"Python.onMissing":     {enum: []string{OnMissingFail, OnMissingNearest, OnMissingInstall}, example: OnMissingFail},
	"Python.installMirror": {check: mirrorURL, sketch: indexSketch, example: "file:///srv/python"},

	"Git.credentialsFile":    {check: filePath, sketch: pathSketch, fix: pathFix, example: "/etc/agentctl/git.netrc"},
	"Git.credentialsCommand": commandRule,
	"Git.protocol":           {enum: []string{ProtocolAsIs, ProtocolHTTPS, ProtocolSSH}, example: ProtocolHTTPS},
	"Git.sshUser":            {form: sshUserForm, fix: "write the name of a user, as git", example: "git"},
	"Git.sshPort":            {min: 1, max: 65535, example: "2222"},

	"Cache.maxEntries": {min: 0, max: 1000000, example: "20"},
	"Cache.maxSize":    {example: "100Gi"},
	"Cache.minFree":    {check: aboveZero, fix: "write a size above 0; 1Mi is next to none", example: "5Gi"},
	"Cache.maxAge":     {check: atLeast(time.Minute, 3650*day), fix: "write 1m to 3650d, or delete the line for no limit", example: "30d"},
	"Cache.resolveAge": {check: atLeast(time.Minute, 3650*day), fix: "write 1m to 3650d", example: "7d"},
	"Cache.prebuild":   {example: "false"},
}
