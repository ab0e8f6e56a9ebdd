package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

var days = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}

const week = 7 * 24

// schedule turns entries as "17-20 SUN,TUE" into the windows in which workers take tasks.
func (t *translation) schedule(v any, up bool) error {
	list, err := listOf(v)
	if err != nil {
		return err
	}
	if t.tree.get("spec.workers[].windows") != nil {
		return refuse("uptime and downtime are both given, which clearml-agent ignores; uptime counts here")
	}
	var on [week]bool
	for _, entry := range list {
		hours, err := hoursOf(entry)
		if err != nil {
			return err
		}
		for _, h := range hours {
			on[h] = true
		}
	}
	if !up {
		for h := range on {
			on[h] = !on[h]
		}
	}
	windows := windowsOf(on)
	switch {
	case !slices.Contains(on[:], false):
		return nothing("names every hour of the week")
	case len(windows) == 0:
		return refuse("it leaves no hour of the week: write count: 0 for workers that stand by")
	}
	for _, w := range windows {
		t.tree.push("spec.workers[].windows", w)
	}
	return nil
}

// hoursOf are the hours of the week that an entry names.
func hoursOf(entry string) ([]int, error) {
	words := strings.Fields(entry)
	if len(words) != 2 {
		return nil, refuse("%.40q is not of the form \"17-20 SUN,TUE\"", entry)
	}
	var out []int
	for span := range strings.SplitSeq(words[0], ",") {
		from, to, ranged := strings.Cut(span, "-")
		a, aerr := strconv.Atoi(from)
		b, berr := 24, error(nil)
		if ranged {
			if b, berr = strconv.Atoi(to); b == 0 {
				b = 24
			}
		}
		if aerr != nil || berr != nil || a < 0 || b > 24 || a >= b {
			return nil, refuse("%.20q is no span of hours, as 17-20", span)
		}
		for names := range strings.SplitSeq(words[1], ",") {
			first, last, many := strings.Cut(strings.ToUpper(names), "-")
			if !many {
				last = first
			}
			d, e := slices.Index(days, first), slices.Index(days, last)
			if d < 0 || e < 0 {
				return nil, refuse("%.20q is no day, or span of days, as MON-FRI", names)
			}
			for ; ; d = (d + 1) % 7 {
				for h := a; h < b; h++ {
					out = append(out, d*24+h)
				}
				if d == e {
					break
				}
			}
		}
	}
	return out, nil
}

// windowsOf are the spans of a week, those of the same hours in one.
func windowsOf(on [week]bool) []any {
	type span struct{ hour, length int }
	spans := map[span][]string{}
	for at := range week {
		before := (at + week - 1) % week
		if !on[at] || on[before] {
			continue
		}
		length := 0
		for length < week && on[(at+length)%week] {
			length++
		}
		s := span{at % 24, length}
		spans[s] = append(spans[s], strconv.Itoa(at/24))
	}
	keys := slices.SortedFunc(maps.Keys(spans), func(a, b span) int { return (a.hour - b.hour) + 100*(a.length-b.length) })
	var out []any
	for _, s := range keys {
		out = append(out, map[string]any{"cron": fmt.Sprintf("0 %d * * %s", s.hour, strings.Join(spans[s], ",")), "for": strconv.Itoa(s.length) + "h"})
	}
	return out
}
