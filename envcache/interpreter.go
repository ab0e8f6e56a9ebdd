package envcache

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Interpreter is one Python as its own probe describes it.
type Interpreter struct {
	Path           string   `json:"path"`           // the executable, never a pyenv shim
	Version        string   `json:"version"`        // as "3.11.7"
	Implementation string   `json:"implementation"` // as "cpython"
	ABI            string   `json:"abi"`            // as "cpython-311-x86_64-linux-gnu"
	Platform       string   `json:"platform"`       // as "linux-x86_64"
	Libc           string   `json:"libc"`           // as "glibc 2.36"
	Prefix         string   `json:"prefix"`
	BasePrefix     string   `json:"basePrefix"`
	Build          string   `json:"build"`     // sys.version: what was built, when, by which compiler
	Sites          []string `json:"sites"`     // folders of its own packages
	PipWheel       string   `json:"pipWheel"`  // of ensurepip, or ""
	PipFolder      string   `json:"pipFolder"` // its own pip package, or ""
	// Root is the ID of the Root that it is in; "" is the host.
	Root string `json:"root,omitempty"`
}

// Numbers are the major, minor and micro version; zeros where it has none.
func (i Interpreter) Numbers() [3]int { return numbers(i.Version) }

func (i Interpreter) String() string { return fmt.Sprintf("%s (%s)", i.Version, i.Path) }

func numbers(version string) (n [3]int) {
	for k, s := range strings.SplitN(version, ".", 3) {
		digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyz+")
		if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
			digits = s[:i]
		}
		n[k], _ = strconv.Atoi(digits)
	}
	return n
}

// trusted tells whether this process may run the code in a file as itself. A
// process that is root must not run what others can have written; any other
// runs builds and tasks as itself anyway.
func trusted(path string) bool {
	if os.Geteuid() != 0 {
		return true
	}
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid == 0 && info.Mode().Perm()&0o022 == 0
}
