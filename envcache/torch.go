package envcache

import (
	"slices"

	"github.com/samber/lo"
)

// torchPackages have wheels for each version of CUDA in indexes of their own.
var torchPackages = []string{"torch", "torchvision", "torchaudio", "torchtext", "torchcsprng"}

// withTorch adds the index of PyTorch's wheels for a list that names one of them. A
// list without them is not looked for there: its key, too, stays what it was.
func (r Request) withTorch(list reqList) (Request, []string) {
	named := lo.Uniq(lo.FilterMap(list.lines, func(raw string, _ int) (string, bool) {
		l := parseLine(raw)
		return l.name, l.kind == lineName && slices.Contains(torchPackages, l.name)
	}))
	if r.TorchIndex == "" || len(named) == 0 {
		return r, nil
	}
	r.ExtraIndexURLs = append(slices.Clone(r.ExtraIndexURLs), r.TorchIndex)
	return r, []string{lo.Reduce(named[1:], func(text, n string, _ int) string { return text + ", " + n }, named[0]) +
		": looked for in " + r.TorchIndex + " too, " + r.TorchWhy}
}
