package envcache

import (
	"fmt"
	"time"
)

// Package managers.
const (
	ManagerPip    = "pip"
	ManagerUV     = "uv"
	ManagerConda  = "conda"
	ManagerPoetry = "poetry"
)

// Request says what an environment must hold. Its strings may come from a task
// and are taken as hostile.
type Request struct {
	Manager string // "" is pip
	// Versions of the managers, by name, where another than the tested one is wanted.
	Versions map[string]string
	// Python makes the environment. With conda it may be empty: there the
	// interpreter comes from the channels, and PythonWanted chooses it.
	Python Interpreter
	// PythonWanted is the version that was asked for, as "3.11"; "" when any will do.
	PythonWanted string
	// Project is what in BaseDir the packages come from; its zero value: Requirements.
	Project Project
	// Requirements as ClearML gives them: lines or whole texts, in pip's syntax.
	Requirements []string
	// CondaRequirements are lines in conda's own syntax, for conda only.
	CondaRequirements []string
	// Constraints as lines or texts, in the syntax of pip's -c files.
	Constraints []string
	// Lock is what an earlier request was resolved to: it is installed as it is,
	// in place of what the other fields ask for.
	Lock *Lock
	// Asked is the request that was resolved to Lock, if it is known: where packages were
	// built from source no lock leads to the environment that was made then.
	Asked *Request
	// Priority and Post name packages that are installed before and after all others.
	Priority, Post []string
	// PriorityOptional and PostOptional are like them, but an environment may be without one
	// that can't be installed.
	PriorityOptional, PostOptional []string
	// InstallFlags are flags of pip, a value behind =, that say which packages are taken and
	// how they are built. They are an operator's, not a task's.
	InstallFlags []string
	// TorchIndex is a further index for lists that name a package of PyTorch's; TorchWhy
	// tells a person why it is this one.
	TorchIndex, TorchWhy string
	// Groups and Extras of a project, besides its main dependencies; "*" is all.
	Groups, Extras []string
	// CondaChannels in order of priority; empty: what conda on this host would use.
	CondaChannels []string
	// IndexURL and ExtraIndexURLs of packages; empty: what pip on this host would use.
	IndexURL       string
	ExtraIndexURLs []string
	// CredentialsFile is a netrc file for indexes and repositories, read when used.
	CredentialsFile string
	// CredentialsCommand gives credentials by git's credential protocol, asked when used.
	CredentialsCommand []string
	// GitCredentialsFile and GitCredentialsCommand are the same for repositories that lines
	// name, and count more there. GitHTTPS has those whose address is of ssh reached by
	// https, where a login is known.
	GitCredentialsFile    string
	GitCredentialsCommand []string
	GitHTTPS              bool
	// SystemSite shows the interpreter's own packages in the environment.
	SystemSite bool
	// BaseDir is what relative paths in Requirements start from: a checkout whose
	// path stands for its content. Paths that lead out of it are refused.
	BaseDir string
	// Root is what the environment is for; nil: the host. Python is the Root's then.
	Root *Root
	// Host runs what a build runs on the host's own file system; nil: as the cache's
	// options say. It sees of the state folder what the Cmd names.
	Host Exec `json:"-"`
	// UID and GID own the environment and run what builds it; SameUser: this process.
	UID, GID int
	// ResolveAge is how long a list that pins not everything counts as resolved;
	// 0: as the cache's options say; negative: for ever.
	ResolveAge time.Duration
	// Timeout of one build; 0: none.
	Timeout time.Duration
}

// Kinds of a Project.
const (
	ProjectPoetry = "poetry.lock"
	ProjectUV     = "uv.lock"
	ProjectConda  = "environment.yml"
	ProjectPylock = "pylock.toml" // PEP 751
	ProjectScript = "script"      // PEP 723: a header in the script itself
)

// Project names a file of the repository that says which packages are needed.
type Project struct {
	Kind string
	File string // relative to the repository
}

// Progress is one step of a preparation, told to a person.
type Progress struct {
	Time time.Time
	Step string // a Step constant, or as "venv", "clone"
	Text string // one line without secrets; "" where there is only a state to show
	Took time.Duration
	// Done and Total are bytes, while something is downloaded. Total grows as more
	// becomes known, and is 0 as long as nothing is.
	Done, Total int64
	// Waiting says that another process does the step, which is waited for.
	Waiting bool
}

// String is the line for a console.
func (p Progress) String() string {
	if p.Took > 0 {
		return fmt.Sprintf("%s: %s (%s)", p.Step, p.Text, p.Took.Round(time.Millisecond))
	}
	return p.Step + ": " + p.Text
}
