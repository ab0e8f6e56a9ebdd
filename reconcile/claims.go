package reconcile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/samber/lo"
)

// claim is what a slot is of: a GPU by the one name that all its names lead to, and a
// share of it, "" if it is all of it.
type claim struct{ device, share string }

func claimOf(id string, gpus []GPU) claim {
	device, share, _ := strings.Cut(id, "/")
	if i := slices.IndexFunc(gpus, func(g GPU) bool { return g.Is(device) }); i >= 0 {
		device = strconv.Itoa(gpus[i].Index)
	}
	return claim{device, share}
}

func (c claim) overlaps(o claim) bool {
	return c.device == o.device && (c.share == "" || o.share == "" || c.share == o.share)
}

// Overlap tells whether two slots can't be those of two tasks: a spec may call a GPU by
// its index or its UUID, and give away whole what another one shared.
func Overlap(one, other string, gpus []GPU) bool {
	return claimOf(one, gpus).overlaps(claimOf(other, gpus))
}

// noteTasks finds which slots tasks hold, by whatever names they began with.
func (a *allocator) noteTasks() {
	claims := lo.Map(a.slots, func(s slot, _ int) claim { return claimOf(s.id, a.gpus) })
	for _, name := range byIndex(a.observed, every) {
		t := a.observed[name].Task
		if t == nil {
			continue
		}
		for _, id := range t.Slots {
			held := claimOf(id, a.gpus)
			for i, s := range a.slots {
				if claims[i].overlaps(held) {
					a.task[s.id] = append(a.task[s.id], name)
				}
			}
		}
	}
}

// holder is another worker than w whose task holds a slot, "" if there is none.
func (a *allocator) holder(id, w string) string {
	name, _ := lo.Find(a.task[id], func(name string) bool { return name != w })
	return name
}
