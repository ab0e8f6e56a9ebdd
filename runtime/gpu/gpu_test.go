package gpu

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
	"github.com/google/go-cmp/cmp"
)

// machine is a DGX with two GPUs, as go-nvml plays it; it leaves out their figures.
func machine(t *testing.T) (*server.Server, []*server.Device) {
	t.Helper()
	s := dgxa100.New()
	s.Devices = s.Devices[:2]
	var devices []*server.Device
	for i, d := range s.Devices {
		device := d.(*server.Device)
		device.UUID = "GPU-" + string(rune('a'+i))
		device.Minor = 7 - i
		device.GetPciInfoFunc = func() (p nvml.PciInfo, ret nvml.Return) {
			for at, c := range device.PciBusID {
				p.BusId[at] = int8(c)
			}
			return p, nvml.SUCCESS
		}
		device.MemoryInfo = nvml.Memory{Total: 40 << 30, Used: 10 << 30, Free: 30 << 30}
		device.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 55}, nvml.SUCCESS }
		device.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 61, nvml.SUCCESS }
		devices = append(devices, device)
	}
	return s, devices
}

func options(t *testing.T, lib nvml.Interface) Options {
	t.Helper()
	return Options{
		Lib: lib, CDI: []string{t.TempDir()}, Log: slog.New(slog.DiscardHandler),
		Libraries: func(context.Context) ([]byte, error) { return nil, nil },
	}
}

func TestLook(t *testing.T) {
	lib, _ := machine(t)
	s := Look(t.Context(), options(t, lib))
	figures := Figures{Usage: 55, Temperature: 61, MemoryUsed: 10 << 30, MemoryFree: 30 << 30}
	want := []GPU{
		{Index: 0, UUID: "GPU-a", Name: "Mock NVIDIA A100-SXM4-40GB", Memory: 40 << 30, BusID: "0000:00:00.0", Minor: 7, Figures: figures},
		{Index: 1, UUID: "GPU-b", Name: "Mock NVIDIA A100-SXM4-40GB", Memory: 40 << 30, BusID: "0000:01:00.0", Minor: 6, Figures: figures},
	}
	if diff := cmp.Diff(want, s.GPUs); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if s.Driver != "550.54.15" || s.CUDA != "12.4" || s.Problem != "" {
		t.Errorf("driver %q, CUDA %q, problem %q", s.Driver, s.CUDA, s.Problem)
	}
}

// What keeps a GPU from being used is told, and the others can be had.
func TestProblems(t *testing.T) {
	for about, c := range map[string]struct {
		set  func(*server.Server, *server.Device)
		want string
	}{
		"lost": {func(_ *server.Server, d *server.Device) {
			d.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, nvml.ERROR_GPU_IS_LOST }
		}, "it is lost"},
		"no handle": {func(s *server.Server, _ *server.Device) {
			get := s.DeviceGetHandleByIndexFunc
			s.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
				if i == 0 {
					return nil, nvml.ERROR_NO_PERMISSION
				}
				return get(i)
			}
		}, "ERROR_NO_PERMISSION"},
		"MIG": {func(_ *server.Server, d *server.Device) { d.MigMode = 1 }, "split by MIG"},
		"an old driver": {func(s *server.Server, _ *server.Device) {
			s.LookupSymbolFunc = func(string) error { return nvml.ERROR_NOT_FOUND }
		}, ""},
		"no node": {func(_ *server.Server, d *server.Device) {
			d.GetMinorNumberFunc = func() (int, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED }
			d.GetPciInfoFunc = func() (nvml.PciInfo, nvml.Return) { return nvml.PciInfo{}, nvml.ERROR_NOT_SUPPORTED }
		}, ""},
		"no sensor": {func(_ *server.Server, d *server.Device) {
			d.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED }
		}, ""},
	} {
		lib, devices := machine(t)
		c.set(lib, devices[0])
		s := Look(t.Context(), options(t, lib))
		if len(s.GPUs) != 2 || s.GPUs[1].Problem != "" || (s.GPUs[0].Problem == "") != (c.want == "") || !strings.Contains(s.GPUs[0].Problem, c.want) {
			t.Errorf("%s: %+v", about, s.GPUs)
		}
	}
}

// A machine without the driver has no GPUs, and says nothing about it.
func TestNoLibrary(t *testing.T) {
	lib, _ := machine(t)
	lib.InitFunc = func() nvml.Return { return nvml.ERROR_LIBRARY_NOT_FOUND }
	var said strings.Builder
	o := options(t, lib)
	o.Log = slog.New(slog.NewTextHandler(&said, nil))
	if s := Look(t.Context(), o); s.GPUs != nil || !strings.Contains(s.Problem, "no NVML") || said.Len() > 0 {
		t.Errorf("%+v, said %q", s, said.String())
	}
}

// watched runs a Watcher, and changes the machine between its looks.
func watched(t *testing.T, lib nvml.Interface, during func(w *Watcher), before ...func()) {
	t.Helper()
	o := options(t, lib)
	synctest.Test(t, func(t *testing.T) {
		for _, f := range before {
			f()
		}
		w := NewWatcher(o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		w.First(ctx)
		during(w)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A driver that hangs is waited for by nobody and asked once. What was known stays, so
// that no task loses its GPU.
func TestDriverHangs(t *testing.T) {
	lib, _ := machine(t)
	var gate chan struct{}
	calls := 0
	count := lib.DeviceGetCountFunc
	lib.DeviceGetCountFunc = func() (int, nvml.Return) {
		calls++
		if gate != nil {
			<-gate
		}
		return count()
	}
	watched(t, lib, func(w *Watcher) {
		synctest.Wait()
		gate = make(chan struct{})
		w.Wake()
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := w.State(); s.Problem != errSilent.Error() || len(s.GPUs) != 2 || calls != 2 {
			t.Errorf("hanging: %q, %d GPUs, %d calls", s.Problem, len(s.GPUs), calls)
		}
		close(gate)
		synctest.Wait()
		if s := w.State(); s.Problem != "" || len(s.GPUs) != 2 {
			t.Errorf("after it: %+v", s)
		}
		time.Sleep(lookEvery + time.Second)
		synctest.Wait()
		if calls != 3 {
			t.Errorf("%d calls after it", calls)
		}
	})
}

func TestHangsFromTheBeginning(t *testing.T) {
	lib, _ := machine(t)
	var gate chan struct{}
	answer := nvml.ERROR_DRIVER_NOT_LOADED
	lib.InitFunc = func() nvml.Return { <-gate; return answer }
	began := time.Now()
	watched(t, lib, func(w *Watcher) { // First has returned
		if s := w.State(); s.GPUs != nil || s.Problem != errSilent.Error() || !s.Silent() {
			t.Errorf("%+v", s)
		}
		close(gate)
		<-w.Changed() // or who waits for the driver would not learn that it is of no use
		if s := w.State(); s.GPUs != nil || s.Silent() {
			t.Errorf("not loaded: %+v", s)
		}
		answer = nvml.SUCCESS
		w.Wake()
		synctest.Wait()
		if len(w.State().GPUs) != 2 {
			t.Errorf("after it: %+v", w.State())
		}
	}, func() { gate = make(chan struct{}) })
	if time.Since(began) > time.Minute {
		t.Error("this is real time")
	}
}

// An agent ends beside a driver that hangs.
func TestEndsWhileDriverHangs(t *testing.T) {
	lib, _ := machine(t)
	o := options(t, lib)
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		lib.DeviceGetCountFunc = func() (int, nvml.Return) { <-gate; return 0, nvml.ERROR_UNKNOWN }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		w := NewWatcher(o)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		cancel()
		w.First(ctx)
		if err := <-done; err != nil {
			t.Error(err)
		}
		close(gate)
	})
}

// A GPU that disappears stays known, with what happened to it; who plans is told.
func TestGone(t *testing.T) {
	lib, devices := machine(t)
	watched(t, lib, func(w *Watcher) {
		<-w.Changed()
		time.Sleep(2 * lookEvery)
		select {
		case <-w.Changed():
			t.Error("figures are no change")
		default:
		}
		synctest.Wait()
		lib.Devices = lib.Devices[:1]
		w.Wake()
		<-w.Changed()
		if g := w.State().GPUs; len(g) != 2 || g[1].UUID != "GPU-b" || !strings.Contains(g[1].Problem, "gone") || g[0].Problem != "" {
			t.Errorf("gone: %+v", g)
		}
		synctest.Wait()
		devices[0].GetUUIDFunc = func() (string, nvml.Return) { return "", nvml.ERROR_GPU_IS_LOST }
		w.Wake()
		<-w.Changed()
		if g := w.State().GPUs; len(g) != 2 || g[0].UUID != "GPU-a" || g[0].Name == "" || !strings.Contains(g[0].Problem, "lost") {
			t.Errorf("lost: %+v", g)
		}
	})
}

// The driver was exchanged under us: from the beginning.
func TestDriverExchanged(t *testing.T) {
	lib, _ := machine(t)
	inits, count := 0, lib.DeviceGetCountFunc
	lib.InitFunc = func() nvml.Return { inits++; return nvml.SUCCESS }
	lib.DeviceGetCountFunc = func() (int, nvml.Return) {
		if inits == 1 {
			return 0, nvml.ERROR_LIB_RM_VERSION_MISMATCH
		}
		return count()
	}
	watched(t, lib, func(w *Watcher) {
		<-w.Changed() // it has answered
		if s := w.State(); s.GPUs != nil || !strings.Contains(s.Problem, "VERSION_MISMATCH") {
			t.Errorf("%+v", s)
		}
		w.Wake()
		<-w.Changed()
		if s := w.State(); len(s.GPUs) != 2 || s.Problem != "" {
			t.Errorf("%+v", s)
		}
	})
}

// What is played above, on a machine that has it.
func TestRealGPU(t *testing.T) {
	s := Look(t.Context(), Options{Log: slog.New(slog.DiscardHandler)})
	if len(s.GPUs) == 0 {
		t.Skip("no NVIDIA GPU: " + s.Problem)
	}
	for _, g := range s.GPUs {
		t.Logf("%+v", g)
		if g.Problem == "" && (g.UUID == "" || g.Name == "" || g.Memory == 0 || g.BusID == "" || g.Minor < 0) {
			t.Errorf("something is missing: %+v", g)
		}
	}
	if s.Driver == "" || s.CUDA == "" {
		t.Errorf("driver %q, CUDA %q", s.Driver, s.CUDA)
	}
	e, err := s.Give([]string{"0"})
	if err != nil || len(e.Devices) < 3 || e.Libraries() == "" {
		t.Errorf("a sandbox would get %+v, %v", e, err)
	}
}
