package clearml

import "context"

// Worker is a worker as it makes itself known.
type Worker struct {
	ID     string   `json:"worker"`
	Queues []string `json:"queues"` // ids
	// Timeout is how many seconds after its last report the server forgets it;
	// 0 for the server's default, 600.
	Timeout int      `json:"timeout,omitempty"`
	Tags    []string `json:"tags,omitempty"`
}

// StatusReport renews a worker and says what it does. A report that names a
// task keeps the server's watchdog away from it.
type StatusReport struct {
	Worker string `json:"worker"`
	// Timestamp in ms since 1970.
	Timestamp int64         `json:"timestamp"`
	Task      string        `json:"task,omitempty"`
	Queue     string        `json:"queue,omitempty"`
	Queues    []string      `json:"queues,omitempty"`
	Tags      []string      `json:"tags,omitempty"`
	Stats     *MachineStats `json:"machine_stats,omitempty"`
	// IsDaemon is set by this package.
	IsDaemon bool `json:"is_daemon"`
}

// MachineStats is what a worker measured since its last report: means, in
// percent, °C, MB and MB/s.
type MachineStats struct {
	CPUUsage       []float64 `json:"cpu_usage,omitempty"`
	CPUTemperature []float64 `json:"cpu_temperature,omitempty"`
	MemoryUsed     float64   `json:"memory_used"`
	MemoryFree     float64   `json:"memory_free"`
	DiskFreeHome   float64   `json:"disk_free_home"`
	DiskRead       float64   `json:"disk_read"`
	DiskWrite      float64   `json:"disk_write"`
	NetworkTX      float64   `json:"network_tx"`
	NetworkRX      float64   `json:"network_rx"`
	GPUTemperature []float64 `json:"gpu_temperature,omitempty"`
	GPUUsage       []float64 `json:"gpu_usage,omitempty"`
	GPUMemoryFree  []float64 `json:"gpu_memory_free,omitempty"`
	GPUMemoryUsed  []float64 `json:"gpu_memory_used,omitempty"`
	// GPUFraction is how much of each GPU the worker has, 1 for a whole one.
	GPUFraction []float64 `json:"gpu_fraction,omitempty"`
}

// RegisterWorker makes a worker known. Doing it again replaces what was known.
func (c *Client) RegisterWorker(ctx context.Context, w Worker) error {
	if w.Queues == nil {
		w.Queues = []string{}
	}
	return c.Read(ctx, "workers.register", w, nil)
}

// UnregisterWorker takes a worker off the list; it may be unknown.
func (c *Client) UnregisterWorker(ctx context.Context, id string) error {
	return c.Read(ctx, "workers.unregister", map[string]string{"worker": id}, nil)
}

// ReportStatus renews a worker.
func (c *Client) ReportStatus(ctx context.Context, r StatusReport) error {
	r.IsDaemon = true
	return c.Read(ctx, "workers.status_report", r, nil)
}

// WorkerInfo is a worker as the server knows it.
type WorkerInfo struct {
	ID     string `json:"id"`
	Queues []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"queues"`
	Task struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"task"`
	LastActivity Time     `json:"last_activity_time"`
	Tags         []string `json:"tags"`
}

// ListWorkers reads the workers that the server knows.
func (c *Client) ListWorkers(ctx context.Context) ([]WorkerInfo, error) {
	var resp struct {
		Workers []WorkerInfo `json:"workers"`
	}
	err := c.Read(ctx, "workers.get_all", map[string]any{"last_seen": 0}, &resp)
	return resp.Workers, err
}
