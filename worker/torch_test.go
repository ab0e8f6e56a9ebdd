package worker

import (
	"strings"
	"testing"

	"agentctl/envcache"
	"agentctl/runtime/gpu"
	"agentctl/spec"
)

func TestTorchIndex(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ index, url, cuda, want, why string }{
		{"", "", "12.4", "", ""},
		{spec.TorchOff, "https://x.example.com", "12.4", "", ""},
		{"cu121", "https://x.example.com/whl/", "", "https://x.example.com/whl/cu121", "torchIndex says"},
		{spec.TorchCPU, "file:///srv/whl", "12.4", "file:///srv/whl/cpu", "torchIndex says"},
		{spec.TorchAuto, "", "12.4", torchPlace + "/cu124", "up to 12.4"},
		{spec.TorchAuto, "", "12.5", torchPlace + "/cu124", "up to 12.5"},
		{spec.TorchAuto, "", "99.0", torchPlace + "/cu130", "up to 99.0"},
		{spec.TorchAuto, "", "8.0", torchPlace + "/cpu", "no wheels"},
		{spec.TorchAuto, "", "", torchPlace + "/cpu", "no GPU"},
		{spec.TorchAuto, "", "../x", torchPlace + "/cpu", "no GPU"},
	} {
		var req envcache.Request
		setTorch(&req, spec.PackageManager{TorchIndex: tc.index, TorchIndexURL: tc.url}, tc.cuda)
		if req.TorchIndex != tc.want || !strings.Contains(req.TorchWhy, tc.why) || (req.TorchWhy == "") != (tc.why == "") {
			t.Errorf("%+v: %s, %s", tc, req.TorchIndex, req.TorchWhy)
		}
	}
}

// The driver counts for workers with GPUs alone.
func TestCUDAOfAWorker(t *testing.T) {
	t.Parallel()
	p := &Pool{cfg: Config{GPUState: func() gpu.State { return gpu.State{CUDA: "12.4"} }}}
	for mode, want := range map[string]string{"": "", spec.GPUsNone: "", spec.GPUsAll: "12.4", spec.GPUsList: "12.4", spec.GPUsCount: "12.4", spec.GPUsShare: "12.4"} {
		if got := p.cuda(spec.Worker{GPUs: spec.GPURequest{Mode: mode}}); got != want {
			t.Errorf("gpus %q: %q, not %q", mode, got, want)
		}
	}
	if got := (&Pool{}).cuda(spec.Worker{GPUs: spec.GPURequest{Mode: spec.GPUsAll}}); got != "" {
		t.Errorf("nobody looks, and it is %q", got)
	}
}
