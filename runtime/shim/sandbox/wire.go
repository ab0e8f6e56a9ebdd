package sandbox

// What shim and runner say to each other.
const (
	doRun    = "run"    // to the runner: execute the command in the first file, on the three streams behind it or on a terminal
	doSignal = "signal" // to the runner: signal its process group
	begun    = "begun"  // from the runner: it runs; beside it the other end of its terminal
	failed   = "failed" // from the runner: it could not be executed, and why
	ended    = "ended"  // from the runner: how it ended
)

// mainID names the task's main process; when it ends the runner does.
const mainID = 0

// maxFiles is how many files go with a command: itself and three streams.
const maxFiles = 4

// message is one message between shim and runner.
type message struct {
	What   string `json:"what"`
	ID     uint32 `json:"id"` // names one process
	Number uint32 `json:"number,omitempty"`
	Why    string `json:"why,omitempty"`
}
