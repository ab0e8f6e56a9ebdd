package spec

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(t testing.TB, zone, text string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	out, err := time.ParseInLocation("2006-01-02 15:04", text, loc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWindow(t *testing.T) {
	const berlin = "Europe/Berlin"
	night := Window{Cron: "0 20 * * *", For: Duration(10 * time.Hour), TimeZone: berlin}
	week := Window{Cron: "0 20 * * 5", For: Duration(58 * time.Hour), TimeZone: berlin} // Friday evening to Monday morning
	gap := Window{Cron: "30 2 * * *", For: Duration(time.Hour), TimeZone: berlin}
	for _, c := range []struct {
		what   string
		w      Window
		now    string
		open   bool
		change string // "" is not asked for
	}{
		{"before it opens", night, "2026-07-01 19:59", false, "2026-07-01 20:00"},
		{"as it opens", night, "2026-07-01 20:00", true, "2026-07-02 06:00"},
		{"over midnight", night, "2026-07-02 00:00", true, "2026-07-02 06:00"},
		{"the last minute", night, "2026-07-02 05:59", true, "2026-07-02 06:00"},
		{"as it closes", night, "2026-07-02 06:00", false, "2026-07-02 20:00"},
		{"a night that has 9 hours ends at 06:00", night, "2026-03-29 05:59", true, "2026-03-29 06:00"},
		{"and not later", night, "2026-03-29 06:00", false, "2026-03-29 20:00"},
		{"a night that has 11 hours ends at 06:00", night, "2026-10-25 05:59", true, "2026-10-25 06:00"},
		{"and not sooner", night, "2026-10-25 05:00", true, "2026-10-25 06:00"},
		{"over days", week, "2026-11-28 12:00", true, "2026-11-30 06:00"},
		{"over the end of the year", Window{Cron: "0 20 31 12 *", For: Duration(10 * time.Hour), TimeZone: berlin}, "2027-01-01 03:00", true, "2027-01-01 06:00"},
		{"it opens at a time that the clock leaves out", gap, "2026-03-29 03:00", true, ""},
		{"and closes as usual", gap, "2026-03-29 03:30", false, "2026-03-30 02:30"},
		{"back to back it never closes", Window{Cron: "0 * * * *", For: Duration(time.Hour), TimeZone: berlin}, "2026-03-29 03:00", true, ""},
		{"a day that is rare", Window{Cron: "0 0 29 2 *", For: Duration(24 * time.Hour), TimeZone: berlin}, "2028-02-29 12:00", true, "2028-03-01 00:00"},
	} {
		open, change := c.w.Open(at(t, berlin, c.now))
		if open != c.open {
			t.Errorf("%s: open is %v", c.what, open)
		}
		if c.change != "" && !change.Equal(at(t, berlin, c.change)) {
			t.Errorf("%s: changes at %s, want %s", c.what, change, c.change)
		}
	}
}

// The hour that the clock shows twice is open both times.
func TestWindowInTheDoubledHour(t *testing.T) {
	w := Window{Cron: "30 2 * * *", For: Duration(30 * time.Minute), TimeZone: "Europe/Berlin"}
	first := time.Date(2026, 10, 25, 0, 40, 0, 0, time.UTC) // 02:40 in summer time
	for _, now := range []time.Time{first, first.Add(time.Hour)} {
		if open, change := w.Open(now); !open || !change.After(now) {
			t.Errorf("%s: open is %v until %s", now.In(at(t, "Europe/Berlin", "2026-01-01 00:00").Location()), open, change)
		}
	}
	if open, _ := w.Open(first.Add(30 * time.Minute)); open {
		t.Error("open at 02:10 of the second time")
	}
}

// Whoever looks again at each change that is told misses none.
func TestWindowTellsItsChanges(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"}
	crons := []string{"0 20 * * *", "30 2 * * *", "*/15 * * * *", "0 0 * * 1-5", "0 1 1 * *"}
	rapid.Check(t, func(t *rapid.T) {
		w := Window{
			Cron: rapid.SampledFrom(crons).Draw(t, "cron"), TimeZone: rapid.SampledFrom(zones).Draw(t, "zone"),
			For: Duration(time.Duration(rapid.IntRange(1, 30*60).Draw(t, "minutes")) * time.Minute),
		}
		now := time.Unix(rapid.Int64Range(1767225600, 1798761600).Draw(t, "now"), 0) // of 2026
		open, change := w.Open(now)
		if !change.After(now) {
			t.Fatalf("at %s a change in the past: %s", now, change)
		}
		step := max(change.Sub(now)/50, time.Minute)
		for at := now; at.Before(change.Add(-time.Minute)); at = at.Add(step) {
			if is, _ := w.Open(at); is != open {
				t.Fatalf("%+v is %v at %s and %v at %s, and tells no change before %s", w, open, now, is, at, change)
			}
		}
	})
}

func TestWorkerWithWindows(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	if open, change := (Worker{}).Open(noon); !open || !change.IsZero() {
		t.Error("a worker without windows is not always open")
	}
	w := Worker{Windows: []Window{
		{Cron: "0 20 * * *", For: Duration(time.Hour), TimeZone: "UTC"}, {Cron: "0 11 * * *", For: Duration(2 * time.Hour), TimeZone: "UTC"},
	}}
	if open, change := w.Open(noon); !open || change != noon.Add(time.Hour) {
		t.Errorf("open is %v until %s", open, change)
	}
}
