package record

// ExecSocket is the socket in a run's folder on which the shim of a sandbox takes
// an Exec, for the shim's own user and root alone.
const ExecSocket = "exec"

// Exec asks for a process in the sandbox of a running task. Its standard streams
// go beside, or none for a terminal.
type Exec struct {
	Version int      `json:"version"`
	Args    []string `json:"args"`
	Env     []string `json:"env"`
	Cwd     string   `json:"cwd"`
}

// Execed is what the shim answers: first that the process runs, with the other
// end of its terminal beside, or why it does not; then how it ended.
type Execed struct {
	Running bool   `json:"running,omitempty"`
	Failed  string `json:"failed,omitempty"`
	Ended   bool   `json:"ended,omitempty"`
	// Code is the exit code, 128 + N when signal N ended it.
	Code int `json:"code,omitempty"`
}

// Validate refuses an Exec that could not be run.
func (e *Exec) Validate() error {
	c := Config{ID: "exec", Dir: "/", Args: e.Args, Env: e.Env, Cwd: e.Cwd, UID: -1, GID: -1, Sandbox: &Sandbox{}}
	if err := c.checkCommand(); err != nil {
		return err
	}
	return checkPath("cwd", e.Cwd)
}
