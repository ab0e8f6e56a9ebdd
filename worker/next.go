package worker

// lane is one worker as the look-ahead sees it.
type lane struct {
	worker string
	queues []string // in the order in which it looks into them
	free   bool     // it is about to take a task
	busy   bool     // its task runs
}

// claim says which worker is going to take a task.
type claim struct{ worker, task string }

// claims guesses which task each busy worker takes next: the first one that is left
// in its queues. What a free worker takes at once needs nobody to look ahead, and
// of several busy workers each counts on another task, in the order of the lanes.
func claims(lanes []lane, waiting map[string][]string) []claim {
	taken := map[string]bool{}
	take := func(l lane) (string, bool) {
		for _, queue := range l.queues {
			for _, task := range waiting[queue] {
				if !taken[task] {
					taken[task] = true
					return task, true
				}
			}
		}
		return "", false
	}
	for _, l := range lanes {
		if l.free {
			take(l)
		}
	}
	var out []claim
	for _, l := range lanes {
		if !l.busy || l.free {
			continue
		}
		if task, ok := take(l); ok {
			out = append(out, claim{l.worker, task})
		}
	}
	return out
}
