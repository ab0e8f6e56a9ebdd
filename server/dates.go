package server

import (
	"strings"
	"time"
)

// dates keeps rows whose time lies within the bounds: each is ">=TIME", ">TIME",
// "<=TIME", "<TIME" or a TIME that must be met.
func (f *filter) dates(column string, bounds []string) error {
	if len(bounds) > maxTerms {
		return invalid(strings.TrimPrefix(column, "t."), "more than %d", maxTerms)
	}
	for _, b := range bounds {
		op := "="
		for _, o := range []string{">=", "<=", ">", "<"} {
			if rest, ok := strings.CutPrefix(b, o); ok {
				op, b = o, rest
				break
			}
		}
		at, ok := parseTime(b)
		if !ok {
			return invalid(strings.TrimPrefix(column, "t."), "invalid time %.60q", b)
		}
		f.add(column+" "+op+" ?", at)
	}
	return nil
}

// parseTime reads a time of the protocol as microseconds.
func parseTime(s string) (us int64, ok bool) {
	s = strings.TrimSpace(s)
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999-07:00", "2006-01-02"} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UnixMicro(), true
		}
	}
	return 0, false
}
