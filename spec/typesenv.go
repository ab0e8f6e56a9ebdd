package spec

// Package managers.
const (
	ManagerPip    = "pip"
	ManagerUV     = "uv"
	ManagerConda  = "conda"
	ManagerPoetry = "poetry"
	ManagerAuto   = "auto"
)

// Answers to a Python version that is not there.
const (
	OnMissingFail    = "fail"
	OnMissingNearest = "nearest"
	OnMissingInstall = "install"
)

// All stands for every name in the lists of groups and extras.
const All = "*"

// Where the list of a task's packages comes from.
const (
	RequirementsTask       = "task"
	RequirementsRepository = "repository"
	RequirementsOriginal   = "original"
)

// Folders in which the files of a project are looked for.
const (
	ProjectFolderRoot       = "root"
	ProjectFolderWorkingDir = "workingDir"
)

// Indexes of PyTorch's own wheels; any other is cu with the version of CUDA, as cu124.
const (
	TorchOff  = "off"
	TorchAuto = "auto"
	TorchCPU  = "cpu"
)

// Protocols by which repositories are reached.
const (
	ProtocolAsIs  = "asIs"
	ProtocolHTTPS = "https"
	ProtocolSSH   = "ssh"
)

// List is a list of which an empty one says more than none: in a worker it takes
// away what the node has.
type List []string

// IsZero says whether the list is left out.
func (l List) IsZero() bool { return l == nil }

// PackageManager says how environments are built.
type PackageManager struct {
	// pip, uv, conda, poetry, or auto (what the repository holds).
	Type string `yaml:"type,omitempty" json:"type,omitempty"`
	// Versions of the managers; left out: those this release was tested with, of which it knows the digests.
	// Any other is fetched without a known digest. For conda it is the version of py-rattler, the client on every host.
	Versions map[string]string `yaml:"versions,omitempty" json:"versions,omitempty"`
	// Interpreter that has what tasks need: they run with it, and no environment is built. Its whole path, inside of the image
	// for workers with `mode: sandbox`, or a name as python3.12, which is looked for.
	UseInterpreter string `yaml:"useInterpreter,omitempty" json:"useInterpreter,omitempty"`
	// Which Python runs the tasks.
	Python Python `yaml:"python,omitempty" json:"python,omitzero"`
	// Conda channels by name or URL (https://, http://, file:///), in order of priority.
	// Left out: the channels of the host's .condarc, else conda-forge.
	CondaChannels List `yaml:"condaChannels,omitempty" json:"condaChannels,omitzero"`
	// Package index, without a user or a password in it. Left out: the manager's own default.
	IndexURL string `yaml:"indexUrl,omitempty" json:"indexUrl,omitempty"`
	// Further package indexes.
	ExtraIndexURLs List `yaml:"extraIndexUrls,omitempty" json:"extraIndexUrls,omitzero"`
	// netrc file with the users and passwords of indexes, channels and private sources; it is read each time it is used.
	IndexCredentialsFile string `yaml:"indexCredentialsFile,omitempty" json:"indexCredentialsFile,omitempty"`
	// Program, by its whole path, with up to 19 arguments, none of them secret, that gives the users and passwords of indexes,
	// channels and repositories by git's credential protocol: it is run with `get` added, reads lines of protocol=, host= and path=
	// and prints username= and password=. A program named keyring is asked in its own way.
	IndexCredentialsCommand List `yaml:"indexCredentialsCommand,omitempty" json:"indexCredentialsCommand,omitzero"`
	// Hosts whose credentials a task itself gets, in a netrc file of its own home, so that it can install while it runs.
	// Left out: none.
	TaskCredentials List `yaml:"taskCredentials,omitempty" json:"taskCredentials,omitzero"`
	// Whether environments of pip and uv show the packages of the interpreter itself too.
	SystemSitePackages *bool `yaml:"systemSitePackages,omitempty" json:"systemSitePackages,omitempty"`
	// Packages to install before all others; the version is the one that the task asks for.
	PriorityPackages List `yaml:"priorityPackages,omitempty" json:"priorityPackages,omitzero"`
	// Packages to install after all others; the version is the one that the task asks for.
	PostPackages List `yaml:"postPackages,omitempty" json:"postPackages,omitzero"`
	// As `priorityPackages`, and a task goes on without one that can't be installed: its console says so. For pip and uv.
	PriorityOptionalPackages List `yaml:"priorityOptionalPackages,omitempty" json:"priorityOptionalPackages,omitzero"`
	// As `postPackages`, and a task goes on without one that can't be installed: its console says so. For pip and uv.
	PostOptionalPackages List `yaml:"postOptionalPackages,omitempty" json:"postOptionalPackages,omitzero"`
	// Which list counts: task (the task's own, else the repository's requirements.txt), repository (requirements.txt, where there is one)
	// or original (the task's own as it was before a run wrote its installed packages into it).
	RequirementsFrom string `yaml:"requirementsFrom,omitempty" json:"requirementsFrom,omitempty"`
	// Further flags of pip, one an element, a value behind =: --no-deps, --pre, --prefer-binary, --only-binary=, --no-binary=,
	// --no-build-isolation, --require-hashes, --ignore-requires-python, --use-pep517. uv gets what it has of them, and the task's console names the rest.
	InstallFlags List `yaml:"installFlags,omitempty" json:"installFlags,omitzero"`
	// Where the files of a project (pyproject.toml, locks) are looked for first: root (of the repository), or workingDir (of the task).
	// After it, the nearest folder from the working folder up to the root counts that has some.
	ProjectFolder string `yaml:"projectFolder,omitempty" json:"projectFolder,omitempty"`
	// Further index for torch, torchvision, torchaudio, torchtext and torchcsprng, where a task's list names one of them: off, auto (by the
	// CUDA that the driver of the worker's GPUs can run; cpu without a GPU), cpu, or cu with a version of CUDA, as cu124. For pip and uv.
	TorchIndex string `yaml:"torchIndex,omitempty" json:"torchIndex,omitempty"`
	// Where these indexes are, to which /cpu or /cu124 is added. Left out: PyTorch's own place.
	TorchIndexURL string `yaml:"torchIndexUrl,omitempty" json:"torchIndexUrl,omitempty"`
	// Dependency groups of a poetry or uv project to install besides its main dependencies; "*" for all.
	Groups List `yaml:"groups,omitempty" json:"groups,omitzero"`
	// Extras of a poetry or uv project to install besides its main dependencies; "*" for all.
	Extras List `yaml:"extras,omitempty" json:"extras,omitzero"`
	// Longest build of one environment, of 1s to 30d. Left out: no limit, but a build that says nothing for 30 minutes is ended.
	BuildTimeout Duration `yaml:"buildTimeout,omitempty" json:"buildTimeout,omitempty"`
}

// Python chooses the interpreter of an environment.
type Python struct {
	// Version for tasks that name none, as "3.12"; left out: the host's python3.
	Default string `yaml:"default,omitempty" json:"default,omitempty"`
	// When the version is not there: fail, nearest (take the nearest version there is, as clearml-agent does)
	// or install (have uv install that version, where the site allows it).
	OnMissing string `yaml:"onMissing,omitempty" json:"onMissing,omitempty"`
	// URL (https://, http:// or file:///) of a mirror of the interpreters that uv installs.
	// Left out: what UV_PYTHON_INSTALL_MIRROR of the agent says, else uv's own place.
	InstallMirror string `yaml:"installMirror,omitempty" json:"installMirror,omitempty"`
}

// Git says how the repositories of tasks are reached.
type Git struct {
	// netrc file with the users and passwords of git hosts; it is read each time it is used.
	CredentialsFile string `yaml:"credentialsFile,omitempty" json:"credentialsFile,omitempty"`
	// Program, by its whole path, with up to 19 arguments, none of them secret, that gives the user and password of a git host
	// as `spec.packageManager.indexCredentialsCommand` does.
	CredentialsCommand List `yaml:"credentialsCommand,omitempty" json:"credentialsCommand,omitzero"`
	// How repositories and their submodules are reached, whatever their addresses say: asIs, https (addresses of ssh,
	// where a login for the host is known) or ssh (addresses of http and https).
	Protocol string `yaml:"protocol,omitempty" json:"protocol,omitempty"`
	// User in an address that becomes one of ssh. Left out: git.
	SSHUser string `yaml:"sshUser,omitempty" json:"sshUser,omitempty"`
	// Port in an address that becomes one of ssh. Left out: ssh's own.
	SSHPort int `yaml:"sshPort,omitempty" json:"sshPort,omitempty"`
}

// Cache limits the environment cache.
type Cache struct {
	// Environments kept at most; 0: no limit.
	MaxEntries *int `yaml:"maxEntries,omitempty" json:"maxEntries,omitempty"`
	// Bytes kept at most. Left out: no limit.
	MaxSize Size `yaml:"maxSize,omitempty" json:"maxSize,omitempty"`
	// Bytes that stay free on the disk; below it no task is taken.
	MinFree Size `yaml:"minFree,omitempty" json:"minFree,omitempty"`
	// Environments that no task used for longer, of 1m to 3650d, are removed. Left out: no limit.
	MaxAge Duration `yaml:"maxAge,omitempty" json:"maxAge,omitempty"`
	// How long the versions found for a list that does not pin every one are used again, of 1m to 3650d; after it
	// they are resolved anew.
	ResolveAge Duration `yaml:"resolveAge,omitempty" json:"resolveAge,omitempty"`
	// Build the next task's environment while its worker is busy.
	Prebuild *bool `yaml:"prebuild,omitempty" json:"prebuild,omitempty"`
}
