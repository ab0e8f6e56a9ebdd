package gpu

import (
	"strconv"
	"time"
)

// GPU is one that NVML shows. Its index is its place on the PCI bus, as that of CUDA
// with CUDA_DEVICE_ORDER=PCI_BUS_ID.
type GPU struct {
	Index  int    `json:"index"`
	UUID   string `json:"uuid"`
	Name   string `json:"name"`
	Memory uint64 `json:"memory"` // bytes
	BusID  string `json:"busID,omitempty"`
	// Minor is the number of its device node, /dev/nvidiaN.
	Minor int `json:"minor"`
	// MIG tells that it is split into instances, and can't be used whole.
	MIG bool `json:"mig,omitempty"`
	// Problem says why it can't be used, "" if it can.
	Problem string  `json:"problem,omitempty"`
	Figures Figures `json:"figures"`
}

// Figures are what a GPU does at the moment.
type Figures struct {
	Usage       float64 `json:"usage"`       // percent
	MemoryUsed  uint64  `json:"memoryUsed"`  // bytes
	MemoryFree  uint64  `json:"memoryFree"`  // bytes
	Temperature float64 `json:"temperature"` // °C
}

// Is tells whether a device of a spec, an index or a UUID, means g.
func (g GPU) Is(device string) bool { return device == strconv.Itoa(g.Index) || device == g.UUID }

// Silent tells that nobody knows of any GPU since the driver has not answered yet.
func (s State) Silent() bool {
	return s.GPUs == nil && (s.Problem == notLooked || s.Problem == errSilent.Error())
}

// State is what was found at one moment. It is not changed any more.
type State struct {
	Time time.Time `json:"time"`
	// GPUs are by index; nil if nobody could look.
	GPUs   []GPU  `json:"gpus,omitempty"`
	Driver string `json:"driver,omitempty"` // its version
	CUDA   string `json:"cuda,omitempty"`   // the newest that the driver knows
	// Problem says why NVML tells nothing, or nothing new; "" if it does.
	Problem string `json:"problem,omitempty"`

	files files // of the driver, for sandboxes
	cdi   *cdi
	dev   string // folder of device nodes
}
