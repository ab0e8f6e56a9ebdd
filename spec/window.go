package spec

import (
	"fmt"
	"time"
	_ "time/tzdata" // for machines without a database of time zones

	"github.com/robfig/cron/v3"
)

// cronFields reads the five fields of a cron line.
var cronFields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// Open tells whether w is open at a time, and when that changes at the soonest. All is
// reckoned by the clock on the wall of its time zone, on which a window of 20:00 and 10h
// ends at 06:00 also in a night in which clocks change: an hour that the clock leaves
// out is no time, and one that it shows twice is open twice.
func (w Window) Open(now time.Time) (open bool, change time.Time) {
	zone, err := w.zone()
	schedule, cerr := cronFields.Parse(w.Cron)
	if err != nil || cerr != nil { // Decode refuses both
		return false, time.Time{}
	}
	wall := onWall(now.In(zone))
	begin := schedule.Next(wall.Add(-time.Duration(w.For)))
	if begin.IsZero() {
		return false, time.Time{} // a day that never comes, as 30 February
	}
	next := begin
	if open = !begin.After(wall); open {
		next = begin.Add(time.Duration(w.For))
	}
	change = offWall(next, zone)
	if !change.After(now) { // the hour that is shown twice
		change = now.Add(time.Minute)
	}
	return open, change
}

// onWall is what a clock shows, as if there were no time zones.
func onWall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

func offWall(t time.Time, zone *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
}

func (w Window) zone() (*time.Location, error) {
	if w.TimeZone == "" {
		return time.Local, nil
	}
	return time.LoadLocation(w.TimeZone)
}

// Open tells whether the worker may take tasks at a time, which it may always without
// windows, and when that changes at the soonest; zero: never.
func (w Worker) Open(now time.Time) (open bool, change time.Time) {
	for _, window := range w.Windows {
		is, at := window.Open(now)
		open = open || is
		if !at.IsZero() && (change.IsZero() || at.Before(change)) {
			change = at
		}
	}
	return open || len(w.Windows) == 0, change
}

// cronLine checks the five fields of a cron line.
func cronLine(v any) string {
	s := v.(string)
	if len(s) > 200 {
		return "is longer than 200 characters"
	}
	if fault := printable(s); fault != "" {
		return fault
	}
	schedule, err := cronFields.Parse(s)
	if err != nil {
		return fmt.Sprintf("%s is no cron line: %s", quote(s), err)
	}
	if schedule.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return quote(s) + " names a day that never comes"
	}
	return ""
}

// timeZone checks a name of the time zone database.
func timeZone(v any) string {
	s := v.(string)
	if _, err := time.LoadLocation(s); err != nil || s == "Local" {
		return quote(s) + " is not the name of a time zone"
	}
	return ""
}
