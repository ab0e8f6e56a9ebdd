package worker

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentctl/clearml"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/sensors"
)

// machine measures the host between two reports, so that an idle agent wakes
// for it no more often than it reports.
type machine struct {
	folder                string // whose disk is told
	at                    time.Time
	read, written, rx, tx uint64
}

func newMachine(folder string) *machine { return &machine{folder: folder} }

const mega = 1 << 20

// sample returns the host's figures in the units that the ClearML UI expects:
// percent, °C, MB and MB/s, averaged since the last sample. A figure that can't be
// had is left out.
func (m *machine) sample(ctx context.Context) *clearml.MachineStats {
	var s clearml.MachineStats
	s.CPUUsage, _ = cpu.PercentWithContext(ctx, 0, true)
	s.CPUTemperature = temperatures(ctx)
	if v, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		s.MemoryUsed, s.MemoryFree = float64(v.Used)/mega, float64(v.Available)/mega
	}
	if u, err := disk.UsageWithContext(ctx, m.folder); err == nil {
		s.DiskFreeHome = 100 - u.UsedPercent
	}
	next := machine{folder: m.folder, at: time.Now()}
	if ios, err := disk.IOCountersWithContext(ctx); err == nil {
		for name, io := range ios {
			if wholeDisk(name) {
				next.read, next.written = next.read+io.ReadBytes, next.written+io.WriteBytes
			}
		}
	}
	if ios, err := net.IOCountersWithContext(ctx, false); err == nil && len(ios) > 0 {
		next.rx, next.tx = ios[0].BytesRecv, ios[0].BytesSent
	}
	if secs := next.at.Sub(m.at).Seconds(); !m.at.IsZero() && secs > 0 {
		rate := func(now, before uint64) float64 { return float64(now-min(now, before)) / mega / secs }
		s.DiskRead, s.DiskWrite = rate(next.read, m.read), rate(next.written, m.written)
		s.NetworkRX, s.NetworkTX = rate(next.rx, m.rx), rate(next.tx, m.tx)
	}
	*m = next
	return &s
}

// wholeDisk tells a disk from its partitions and from what lies on other disks, which
// would be counted twice.
func wholeDisk(name string) bool {
	at, err := os.Readlink(filepath.Join("/sys/block", filepath.Base(name)))
	return err == nil && !strings.Contains(at, "/virtual/")
}

// temperatures are those of the processor's cores, by the drivers' names for them.
func temperatures(ctx context.Context) []float64 {
	all, _ := sensors.TemperaturesWithContext(ctx) // it warns of single sensors
	var cores []float64
	for _, t := range all {
		if strings.HasPrefix(t.SensorKey, "coretemp_core") || strings.HasPrefix(t.SensorKey, "k10temp_tccd") {
			cores = append(cores, t.Temperature)
		}
	}
	return cores
}
