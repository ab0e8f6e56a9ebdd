package spec

// Severity tells an error, which refuses a document, from a warning.
type Severity string

// Severities of a Problem.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Problem is one fault of a document: where, what and what to write instead.
type Problem struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Path     string   `json:"path,omitempty"` // as spec.workers[0].gpus
	Severity Severity `json:"severity"`
	Fault    string   `json:"fault"`
	Fix      string   `json:"fix,omitempty"`
}

// Problems are all faults of a document, errors first, each by position.
type Problems []Problem
