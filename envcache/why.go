package envcache

import (
	"fmt"
	"slices"
	"time"
)

// explainMiss says why no environment fits: which parts differ from the nearest
// one there is.
func (c *Cache) explainMiss(parts []Part) string {
	entries, err := c.Entries()
	if err != nil || len(entries) == 0 {
		return "no environment was built before"
	}
	nearest := entries[0]
	for _, e := range entries[1:] {
		if distance(e.Parts, parts) < distance(nearest.Parts, parts) {
			nearest = e
		}
	}
	diff := difference(withoutAge(nearest.Parts), withoutAge(parts))
	if diff == "" {
		return "the environment with the same parts is being built, was thrown away or is too old"
	}
	return "the nearest environment differs: " + diff
}

// withAge adds the part that a generation stands for.
func withAge(parts []Part, gen string) []Part {
	if gen == "" {
		return parts
	}
	return append(slices.Clone(parts), Part{Name: agePart, Value: gen})
}

func withoutAge(parts []Part) []Part {
	if n := len(parts); n > 0 && parts[n-1].Name == agePart {
		return parts[:n-1]
	}
	return parts
}

func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%.3g days", d.Hours()/24)
	}
	return d.String()
}
