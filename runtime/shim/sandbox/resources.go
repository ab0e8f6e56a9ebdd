package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// cpuPeriod is the kernel's own, in microseconds.
const cpuPeriod = 100_000

// initThreads is how many threads libcontainer's init may come to have before it becomes
// the runner; the kernel counts them as it does processes.
const initThreads = 12

// resources translates limits. All devices are denied but for those that are
// added behind it.
func resources(r record.Resources) (*specs.LinuxResources, error) {
	out := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}}
	if r.Memory > 0 {
		// The kernel counts memory and swap together.
		swap := r.Memory + r.Swap
		if r.Swap < 0 {
			swap = -1
		}
		out.Memory = &specs.LinuxMemory{Limit: &r.Memory, Swap: &swap}
	}
	cpu := specs.LinuxCPU{Cpus: r.CPUSet, Mems: r.MemorySet}
	if r.CPUs > 0 {
		quota, period := int64(r.CPUs*cpuPeriod), uint64(cpuPeriod)
		cpu.Quota, cpu.Period = &quota, &period
	}
	if r.CPUShares > 0 {
		cpu.Shares = &r.CPUShares
	}
	out.CPU = &cpu
	if r.PIDs > 0 {
		pids := r.PIDs + initThreads
		out.Pids = &specs.LinuxPids{Limit: &pids}
	}
	io := &specs.LinuxBlockIO{}
	if r.IOWeight > 0 {
		io.Weight = &r.IOWeight
	}
	for _, l := range r.IO {
		st, err := device(l.Device, unix.S_IFBLK)
		if err != nil {
			return nil, fmt.Errorf("cannot limit the use of a device: %w", err)
		}
		for _, limit := range []struct {
			rate uint64
			list *[]specs.LinuxThrottleDevice
		}{
			{l.ReadBPS, &io.ThrottleReadBpsDevice}, {l.WriteBPS, &io.ThrottleWriteBpsDevice},
			{l.ReadIOPS, &io.ThrottleReadIOPSDevice}, {l.WriteIOPS, &io.ThrottleWriteIOPSDevice},
		} {
			if limit.rate == 0 {
				continue
			}
			t := specs.LinuxThrottleDevice{Rate: limit.rate}
			t.Major, t.Minor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
			*limit.list = append(*limit.list, t)
		}
	}
	out.BlockIO = io
	return out, nil
}

const maxSmall = 1 << 20

// readSmall reads a file of the host that is to be copied.
func readSmall(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(data) > maxSmall {
		err = &fs.PathError{Op: "copy", Path: path, Err: errors.New("it is larger than 1 MiB")}
	}
	return data, err
}

// limits are resources as the cgroup manager takes them.
func limits(r record.Resources) (*cgroups.Resources, error) {
	res, err := resources(r)
	if err != nil {
		return nil, err
	}
	res.Devices = nil
	c, err := specconv.CreateCgroupConfig(&specconv.CreateOpts{
		CgroupName: "limits", Spec: &specs.Spec{Linux: &specs.Linux{Resources: res}},
	}, nil)
	if err != nil {
		return nil, err
	}
	c.Resources.SkipDevices = true
	return c.Resources, nil
}
