package spec

// Worker is one slot that runs one task at a time, with every setting resolved.
// It is what Expand makes of a WorkerSpec.
type Worker struct {
	// Name is the identity, GROUP/INDEX, as "train/0".
	Name  string `json:"name"`
	Group string `json:"group"`
	Index int    `json:"index"`
	// ID is the ClearML worker id, NODE:GROUP:INDEX.
	ID             string         `json:"id"`
	Queues         []string       `json:"queues"`
	Order          string         `json:"order"`
	Mode           string         `json:"mode"`
	Image          string         `json:"image,omitempty"`
	GPUs           GPURequest     `json:"gpus,omitzero"`
	PackageManager PackageManager `json:"packageManager"`
	Resources      Resources      `json:"resources,omitzero"`
	MaxRuntime     Duration       `json:"maxRuntime,omitempty"`
	StopGrace      Duration       `json:"stopGrace,omitempty"`
	Drain          Drain          `json:"drain"`
	RunAs          string         `json:"runAs,omitempty"`
}
