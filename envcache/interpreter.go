package envcache

// Interpreter is one Python as its own probe describes it.
type Interpreter struct {
	Path           string `json:"path"`           // the executable, never a pyenv shim
	Version        string `json:"version"`        // as "3.11.7"
	Implementation string `json:"implementation"` // as "cpython"
	ABI            string `json:"abi"`            // as "cpython-311-x86_64-linux-gnu"
	Platform       string `json:"platform"`       // as "linux-x86_64"
	Libc           string `json:"libc"`           // as "glibc 2.36" or "musl"
	Prefix         string `json:"prefix"`
	BasePrefix     string `json:"basePrefix"`
	Build          string `json:"build"` // sys.version: what was built, when and by which compiler
}
