package shim

import (
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"agentctl/runtime/internal/record"
	"agentctl/runtime/shim/sandbox"
)

// Names that the program goes by in its Args[0].
const (
	shimName = "agentctl-shim"
	initName = "agentctl-shim-init" // process 1 of a PID namespace
)

// IsShim tells whether a program was started to play the shim, so that the
// binary of a test can.
func IsShim(args []string) bool {
	return len(args) > 0 && strings.HasPrefix(strings.TrimPrefix(filepath.Base(args[0]), "."), shimName) || len(args) > 2 && args[1] == "probe"
}

// Main is the shim's program: `agentctl-shim FOLDER` holds the run in FOLDER, on
// the descriptors that package runtime hands down. It returns the exit code of
// the process and must be called by main alone, for it takes over signals,
// children and the umask.
func Main(args []string) int {
	goruntime.LockOSThread()
	switch {
	case sandbox.IsInit(args):
		sandbox.Init()
	case len(args) == 1 && filepath.Base(args[0]) == initName:
		return initMain()
	case len(args) > 2 && args[1] == "probe":
		return probeMain(args[2:])
	case len(args) == 2:
		return runMain(args[1])
	}
	fmt.Fprintln(os.Stderr, "agentctl-shim is started by agentctl, not by hand")
	return 2
}

func runMain(dir string) int {
	s := &shim{dir: dir}
	err := s.begin()
	if err != nil {
		// The agent reads this until the descriptor is closed.
		_, _ = s.word.WriteString(err.Error())
		return 1
	}
	_, _ = s.word.WriteString(record.WordReady)
	if err := s.hold(); err != nil {
		fmt.Fprintln(os.Stderr, "agentctl-shim:", err)
		return 1
	}
	return 0
}
