package worker

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"agentctl/envcache"
	"agentctl/spec"
)

// torchPlace is where PyTorch's own indexes are.
const torchPlace = "https://download.pytorch.org/whl"

// torchBuilds are the versions of CUDA that releases of PyTorch have an index for, the
// newest first. A driver runs what was built for its own version, and for older ones.
var torchBuilds = []int{130, 129, 128, 126, 124, 121, 118, 117, 116, 115, 113, 111, 110, 102, 101, 92}

// setTorch chooses the index of PyTorch's wheels. cuda is the newest version that the
// driver of the worker's GPUs can run, as 12.4; "" without any.
func setTorch(req *envcache.Request, pm spec.PackageManager, cuda string) {
	build, why := pm.TorchIndex, "as packageManager.torchIndex says"
	switch build {
	case "", spec.TorchOff:
		return
	case spec.TorchAuto:
		build, why = torchBuild(cuda)
	}
	base := strings.TrimRight(cmp.Or(pm.TorchIndexURL, torchPlace), "/")
	req.TorchIndex, req.TorchWhy = base+"/"+build, why
}

func torchBuild(cuda string) (build, why string) {
	major, minor, _ := strings.Cut(cuda, ".")
	x, err1 := strconv.Atoi(major)
	y, err2 := strconv.Atoi(minor)
	if err1 != nil || err2 != nil || y > 9 {
		return spec.TorchCPU, "since no GPU of the worker is known"
	}
	at := slices.IndexFunc(torchBuilds, func(b int) bool { return b <= 10*x+y })
	if at < 0 {
		return spec.TorchCPU, fmt.Sprintf("since the driver of its GPUs runs CUDA %s and nothing newer, for which there are no wheels", cuda)
	}
	return "cu" + strconv.Itoa(torchBuilds[at]), fmt.Sprintf("since the driver of its GPUs runs CUDA up to %s", cuda)
}

// cuda is the newest version of CUDA that the GPUs of w can run; "" without any.
func (p *Pool) cuda(w spec.Worker) string {
	if p.cfg.GPUState == nil || w.GPUs.Mode == spec.GPUsNone || w.GPUs.Mode == "" {
		return ""
	}
	return p.cfg.GPUState().CUDA
}
