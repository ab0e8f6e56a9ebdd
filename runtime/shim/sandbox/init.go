package sandbox

import (
	"os"

	"github.com/opencontainers/runc/libcontainer"
)

// IsInit tells whether libcontainer started this program as its init.
func IsInit(args []string) bool {
	return len(args) == 2 && args[1] == "init" && os.Getenv("_LIBCONTAINER_INITPIPE") != ""
}

// Init is the program of libcontainer's init. It does not return.
func Init() { libcontainer.Init() }
