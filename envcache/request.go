package envcache

import (
	"fmt"
	"time"
)

// ManagerPip is the package manager pip.
const ManagerPip = "pip"

// Request says what an environment must hold. Its strings may come from a task
// and are taken as hostile.
type Request struct {
	Manager string // "" is pip
	Python  Interpreter
	// Requirements as ClearML gives them: lines or whole texts, in pip's syntax.
	Requirements []string
	// Constraints as lines or texts, in the syntax of pip's -c files.
	Constraints []string
	// IndexURL and ExtraIndexURLs of packages; empty: what pip on this host would use.
	IndexURL       string
	ExtraIndexURLs []string
	// CredentialsFile is a netrc file for indexes and repositories, read when used.
	CredentialsFile string
	// SystemSite shows the interpreter's own packages in the environment.
	SystemSite bool
	// BaseDir is what relative paths in Requirements start from: a checkout whose
	// path stands for its content. Paths that lead out of it are refused.
	BaseDir string
	// UID and GID own the environment and run what builds it; SameUser: this process.
	UID, GID int
}

// Progress is one step of a preparation, told to a person.
type Progress struct {
	Time time.Time
	Step string // as "pip", "venv", "clone"
	Text string // one line without secrets
	Took time.Duration
}

// String is the line for a console.
func (p Progress) String() string {
	if p.Took > 0 {
		return fmt.Sprintf("%s: %s (%s)", p.Step, p.Text, p.Took.Round(time.Millisecond))
	}
	return p.Step + ": " + p.Text
}
