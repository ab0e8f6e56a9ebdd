package record

// ExecSocket is the socket in a run's folder on which the shim of a sandbox takes
// an Exec, for the shim's own user and root alone.
const ExecSocket = "exec"

// ExecOrder is what is sent first. Beside it goes a file that holds an Exec, which
// may be longer than a packet, and behind that its standard streams, or none for a
// terminal.
type ExecOrder struct {
	Version int `json:"version"`
}

// Exec asks for a process in the sandbox of a running task.
type Exec struct {
	Args []string `json:"args"`
	Env  []string `json:"env"`
	Cwd  string   `json:"cwd"`
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
