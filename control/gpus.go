package control

import (
	"context"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// GPUs are those of the node.
type GPUs struct {
	Driver string `json:"driver,omitempty"` // its version
	CUDA   string `json:"cuda,omitempty"`   // the newest that the driver knows
	// Problem says why the driver tells nothing, or nothing new.
	Problem string `json:"problem,omitempty"`
	GPUs    []GPU  `json:"gpus"`
}

// GPU is one that the driver shows, or that a spec names where it shows none.
type GPU struct {
	// Device is its index, or what a slot calls it.
	Device string `json:"device"`
	UUID   string `json:"uuid,omitempty"`
	Name   string `json:"name,omitempty"`
	BusID  string `json:"busID,omitempty"`
	Memory uint64 `json:"memory,omitempty"` // bytes
	MIG    bool   `json:"mig,omitempty"`
	// Problem says why no task may have it.
	Problem string `json:"problem,omitempty"`
	// Usage is in percent, Temperature in °C, the others in bytes; as they were last.
	Usage       float64 `json:"usage"`
	Temperature float64 `json:"temperature"`
	MemoryUsed  uint64  `json:"memoryUsed"`
	MemoryFree  uint64  `json:"memoryFree"`
	// Holders have it, or a share of it.
	Holders []GPUHolder `json:"holders"`
}

// GPUHolder is a worker that has a GPU.
type GPUHolder struct {
	Slot   string `json:"slot"`
	Worker string `json:"worker"`
	// Task that uses it, "" if the worker has none.
	Task string `json:"task,omitempty"`
}

func (s *Server) gpus(*http.Request) (any, error) {
	if s.cfg.GPUs == nil {
		return GPUs{GPUs: []GPU{}}, nil
	}
	return s.cfg.GPUs(), nil
}

// GPUs tells which there are and who has them.
func (c *Client) GPUs(ctx context.Context) (g GPUs, err error) {
	err = c.call(ctx, http.MethodGet, pathGPUs, nil, &g)
	return g, err
}

var gpusByState = prometheus.NewDesc("agentctl_gpus",
	"GPUs of this node: held by a task, free, or broken, which no task may have.", []string{"state"}, nil)

// gpuMetrics counts GPUs when it is asked.
type gpuMetrics func() GPUs

// CountGPUs adds the GPUs to the metrics; it must be called once at most.
func (m *Metrics) CountGPUs(list func() GPUs) { m.registry.MustRegister(gpuMetrics(list)) }

func (gpuMetrics) Describe(to chan<- *prometheus.Desc) { to <- gpusByState }

func (list gpuMetrics) Collect(to chan<- prometheus.Metric) {
	states := map[string]int{"free": 0, "held": 0, "broken": 0}
	for _, g := range list().GPUs {
		switch {
		case g.Problem != "":
			states["broken"]++
		case slices.ContainsFunc(g.Holders, func(h GPUHolder) bool { return h.Task != "" }):
			states["held"]++
		default:
			states["free"]++
		}
	}
	for state, n := range states {
		to <- prometheus.MustNewConstMetric(gpusByState, prometheus.GaugeValue, float64(n), state)
	}
}
