package reconcile

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"agentctl/spec"
)

// choose picks slots for w among those that nobody was given yet, or says what is
// lacking.
func (a *allocator) choose(w *spec.Worker) ([]string, string) {
	var ids []string
	var lack string
	// All are none, where there are none.
	if len(a.slots) == 0 && (w.GPUs.Mode != spec.GPUsAll || a.silent && a.observed[w.Name].Task == nil) {
		return nil, "needs " + asked(w.GPUs) + "; " + a.none
	}
	switch w.GPUs.Mode {
	case spec.GPUsAll:
		ids, lack = a.all()
	case spec.GPUsList:
		ids, lack = a.listed(w.GPUs.Devices)
	case spec.GPUsShare:
		ids, lack = a.share(w)
	default:
		ids, lack = a.whole(w)
	}
	slices.Sort(ids)
	return ids, lack
}

// asked says a request in words.
func asked(g spec.GPURequest) string {
	switch g.Mode {
	case spec.GPUsCount:
		return plural(g.Count, "GPU")
	case spec.GPUsShare:
		return g.String() + " of a GPU"
	case spec.GPUsAll:
		return "all GPUs"
	}
	return "gpu " + strings.Join(g.Devices, ", ")
}

func (a *allocator) all() ([]string, string) {
	var ids []string
	for _, s := range a.slots {
		if owner := a.owner[s.id]; owner != "" {
			return nil, fmt.Sprintf("needs all GPUs; gpu %s is of %s", s.id, owner)
		}
		ids = append(ids, s.id)
	}
	return ids, ""
}

func (a *allocator) listed(devices []string) ([]string, string) {
	var ids []string
	for _, device := range devices {
		found := false
		for _, s := range a.slots {
			if !a.same(s.device, device) {
				continue
			}
			if owner := a.owner[s.id]; owner != "" {
				return nil, fmt.Sprintf("needs gpu %s, which is of %s", device, owner)
			}
			ids, found = append(ids, s.id), true
		}
		if !found {
			return nil, fmt.Sprintf("needs gpu %s: %s", device, cmp.Or(Lacking(device, a.gpus), "it is not among spec.gpus.slots"))
		}
	}
	return ids, ""
}

// same tells whether two names mean one GPU, as its index and its UUID do.
func (a *allocator) same(one, other string) bool {
	return one == other || slices.ContainsFunc(a.gpus, func(g GPU) bool { return g.Is(one) && g.Is(other) })
}

// whole picks GPUs that nobody shares.
func (a *allocator) whole(w *spec.Worker) ([]string, string) {
	free := a.preferred(w, func(s slot) bool { return s.shares == 1 })
	if len(free) < w.GPUs.Count {
		return nil, fmt.Sprintf("needs %s; %d of the %d of this node are left for it", asked(w.GPUs), len(free), a.count(func(s slot) bool { return s.shares == 1 }))
	}
	return free[:w.GPUs.Count], ""
}

// share picks shares of one GPU, of as many as the request needs.
func (a *allocator) share(w *spec.Worker) ([]string, string) {
	byDevice, order := map[string][]string{}, []string{}
	shares := map[string]int{}
	for _, s := range a.slots {
		shares[s.device] = s.shares
	}
	for _, id := range a.preferred(w, func(s slot) bool { return s.shares > 1 }) {
		device, _, _ := strings.Cut(id, "/")
		if byDevice[device] == nil {
			order = append(order, device)
		}
		byDevice[device] = append(byDevice[device], id)
	}
	for _, device := range order {
		// A little less, so that 0.1 of ten shares is one share and not two.
		need := max(int(math.Ceil(w.GPUs.Share*float64(shares[device])-1e-9)), 1)
		if free := byDevice[device]; len(free) >= need {
			return free[:need], ""
		}
	}
	return nil, fmt.Sprintf("needs %s; no shared GPU of this node has that left", asked(w.GPUs))
}

// preferred are the slots that w may have: first those that it has, then those that
// no task of another holds.
func (a *allocator) preferred(w *spec.Worker, fits func(slot) bool) []string {
	have := a.observed[w.Name]
	var classes [3][]string
	for _, s := range a.slots {
		switch {
		case !fits(s) || a.owner[s.id] != "":
		case slices.Contains(have.Slots, s.id):
			classes[0] = append(classes[0], s.id)
		case a.holder(s.id, w.Name) == "":
			classes[1] = append(classes[1], s.id)
		default:
			classes[2] = append(classes[2], s.id)
		}
	}
	return slices.Concat(classes[:]...)
}

func (a *allocator) count(fits func(slot) bool) int {
	n := 0
	for _, s := range a.slots {
		if fits(s) {
			n++
		}
	}
	return n
}
