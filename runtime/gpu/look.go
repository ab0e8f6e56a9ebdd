package gpu

import (
	"errors"
	"fmt"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// looker asks NVML. It must not be used by two goroutines at once.
type looker struct {
	lib   nvml.Interface
	begun bool // Init succeeded
}

// errNoLibrary is that of a machine without NVIDIA's driver.
var errNoLibrary = errors.New("no NVML (libnvidia-ml.so.1): NVIDIA's driver is not installed, or not for this system")

// look lists the GPUs. NVML stays open: opening it takes the driver up to seconds, and
// a GPU keeps its index as long as it is open.
func (l *looker) look(now time.Time) (State, error) {
	s := State{Time: now}
	if !l.begun {
		if ret := l.lib.Init(); ret == nvml.ERROR_LIBRARY_NOT_FOUND {
			return s, errNoLibrary
		} else if ret != nvml.SUCCESS {
			return s, fault("begin", ret)
		}
		l.begun = true
	}
	count, ret := l.lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		// The driver may have been exchanged: from the beginning, the next time.
		_ = l.lib.Shutdown()
		l.begun = false
		return s, fault("count the GPUs", ret)
	}
	s.Driver, _ = l.lib.SystemGetDriverVersion()
	if v, ret := l.lib.SystemGetCudaDriverVersion(); ret == nvml.SUCCESS {
		s.CUDA = fmt.Sprintf("%d.%d", v/1000, v%1000/10)
	}
	s.GPUs = make([]GPU, 0, count)
	for i := range count {
		s.GPUs = append(s.GPUs, l.gpu(i))
	}
	return s, nil
}

func fault(what string, ret nvml.Return) error {
	return fmt.Errorf("cannot %s by NVML: %s", what, nvml.ErrorString(ret))
}

func (l *looker) gpu(index int) GPU {
	g := GPU{Index: index, Minor: -1}
	device, ret := l.lib.DeviceGetHandleByIndex(index)
	if ret != nvml.SUCCESS {
		g.Problem = problemOf(ret)
		return g
	}
	for _, ask := range []func(nvml.Device, *GPU) nvml.Return{identify, place, measure} {
		if ret := ask(device, &g); ret != nvml.SUCCESS && g.Problem == "" {
			g.Problem = problemOf(ret)
		}
	}
	// Drivers before 450 lack the call: asking them would end this process.
	if current, _, ret := migMode(l.lib, device); ret == nvml.SUCCESS && current == nvml.DEVICE_MIG_ENABLE {
		g.MIG = true
		if g.Problem == "" {
			g.Problem = "it is split by MIG: name its instances in spec.gpus.slots, as MIG-…"
		}
	}
	return g
}

func migMode(lib nvml.Interface, d nvml.Device) (current, pending int, ret nvml.Return) {
	if lib.Extensions().LookupSymbol("nvmlDeviceGetMigMode") != nil {
		return 0, 0, nvml.ERROR_FUNCTION_NOT_FOUND
	}
	return d.GetMigMode()
}

func identify(d nvml.Device, g *GPU) (ret nvml.Return) {
	if g.UUID, ret = d.GetUUID(); ret != nvml.SUCCESS {
		return ret
	}
	g.Name, ret = d.GetName()
	return ret
}

// place finds the node and the bus of a GPU. Where it has none, as below Windows, it can
// be used all the same; only a sandbox can't show it by its node.
func place(d nvml.Device, g *GPU) nvml.Return {
	switch minor, ret := d.GetMinorNumber(); ret {
	case nvml.SUCCESS:
		g.Minor = minor
	case nvml.ERROR_NOT_SUPPORTED:
	default:
		return ret
	}
	pci, ret := d.GetPciInfo()
	if ret == nvml.ERROR_NOT_SUPPORTED {
		return nvml.SUCCESS
	}
	for _, c := range pci.BusId {
		if c == 0 {
			break
		}
		g.BusID += string(rune(c))
	}
	return ret
}

// measure leaves out what a GPU doesn't tell: some have no sensor, or count nothing.
func measure(d nvml.Device, g *GPU) nvml.Return {
	memory, told := d.GetMemoryInfo()
	if told == nvml.ERROR_GPU_IS_LOST {
		return nvml.ERROR_GPU_IS_LOST
	}
	g.Memory, g.Figures.MemoryUsed, g.Figures.MemoryFree = memory.Total, memory.Used, memory.Free
	if use, ret := d.GetUtilizationRates(); ret == nvml.SUCCESS {
		g.Figures.Usage = float64(use.Gpu)
	}
	if degrees, ret := d.GetTemperature(nvml.TEMPERATURE_GPU); ret == nvml.SUCCESS {
		g.Figures.Temperature = float64(degrees)
	}
	return nvml.SUCCESS
}

// problemOf says what keeps a GPU from being used.
func problemOf(ret nvml.Return) string {
	if ret == nvml.ERROR_GPU_IS_LOST {
		return "it is lost: the driver can't reach it any more, which a restart of the machine may mend"
	}
	return "the driver says: " + nvml.ErrorString(ret)
}
