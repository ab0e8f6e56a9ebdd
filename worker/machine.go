package worker

import (
	"context"
	"time"

	"agentctl/clearml"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
)

// machine measures the host between two reports, so that an idle agent wakes
// for it no more often than it reports.
type machine struct {
	at                    time.Time
	read, written, rx, tx uint64
}

func newMachine() *machine { return &machine{} }

const mega = 1 << 20

// sample returns the host's figures in the units that the ClearML UI expects:
// percent, MB and MB/s, averaged since the last sample. A figure that can't be
// had is left out.
func (m *machine) sample(ctx context.Context) *clearml.MachineStats {
	var s clearml.MachineStats
	s.CPUUsage, _ = cpu.PercentWithContext(ctx, 0, true)
	if v, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		s.MemoryUsed, s.MemoryFree = float64(v.Used)/mega, float64(v.Available)/mega
	}
	if u, err := disk.UsageWithContext(ctx, "/"); err == nil {
		s.DiskFreeHome = 100 - u.UsedPercent
	}
	next := machine{at: time.Now()}
	if ios, err := disk.IOCountersWithContext(ctx); err == nil {
		for _, io := range ios {
			next.read, next.written = next.read+io.ReadBytes, next.written+io.WriteBytes
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
