package server

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/samber/lo"
)

func (s scroll) compare(o scroll) int { return cmp.Or(cmp.Compare(s.A, o.A), cmp.Compare(s.B, o.B)) }

// The places before and behind all lines.
var (
	logBegin = scroll{math.MinInt64, math.MinInt64}
	logEnd   = scroll{math.MaxInt64, math.MaxInt64}
)

// maxLogBytes bounds the text in one answer; what is left comes with the next
// page.
const maxLogBytes = 16 << 20

// logReader collects the lines nearest to a place, in one direction.
type logReader struct {
	v      *view
	stream int64
	back   bool
	from   scroll
	n      int
	lines  []logLine // the nearest first
}

// readLog reads n events of a task before or behind a place (time, number), the
// nearest first. The zero place is the beginning, or the end when going backward.
func readLog(v *view, t *task, back bool, from scroll, n int) ([]*logEvent, error) {
	if from == (scroll{}) {
		from = logBegin
		if back {
			from = logEnd
		}
	}
	r := &logReader{v: v, stream: t.stream, back: back, from: from, n: n}
	if err := r.chunks(); err != nil {
		return nil, err
	}
	if err := r.rows(); err != nil {
		return nil, err
	}
	return lo.Map(r.lines, func(l logLine, _ int) *logEvent {
		return &logEvent{Type: typeLog, Task: t.ID, Worker: l.Worker, Level: l.Level, Msg: l.Msg, Timestamp: l.TS, At: stampMS(l.TS), n: l.N}
	}), nil
}

// before tells whether a place comes sooner in the reader's direction.
func (r *logReader) before(a, b scroll) bool {
	if r.back {
		a, b = b, a
	}
	return a.compare(b) < 0
}

// full tells whether nothing behind a place can be among the nearest n lines.
func (r *logReader) full(at scroll) bool {
	return len(r.lines) >= r.n && !r.before(at, r.place(r.n-1))
}

func (r *logReader) place(i int) scroll { return scroll{r.lines[i].TS, r.lines[i].N} }

// add takes the lines that lie behind the place where the reading began, and keeps
// the nearest: not more of them than one answer may have, since a console of few
// compressed bytes may be one of many.
func (r *logReader) add(lines []logLine) {
	for _, l := range lines {
		if r.before(r.from, scroll{l.TS, l.N}) {
			r.lines = append(r.lines, l)
		}
	}
	slices.SortFunc(r.lines, func(a, b logLine) int {
		if r.back {
			a, b = b, a
		}
		return a.compare(b)
	})
	size, keep := 0, 0
	for keep < min(len(r.lines), r.n) {
		if size += len(r.lines[keep].Msg); size > maxLogBytes && keep > 0 {
			r.n = keep
			break
		}
		keep++
	}
	clear(r.lines[keep:]) // or they are held until the page is read
	r.lines = r.lines[:keep]
}

var errEnough = errors.New("enough lines")

// chunks reads chunks, the nearest first, until no other can hold a line that is
// wanted: late events make chunks overlap. The + keeps SQLite from finding them by
// their other end, since it would then sort all of them with what they hold.
func (r *logReader) chunks() error {
	text := `SELECT first_ts, first_n, data FROM log_chunk WHERE stream = ? AND +last_ts >= ? ORDER BY first_ts, first_n`
	if r.back {
		text = `SELECT last_ts, last_n, data FROM log_chunk WHERE stream = ? AND +first_ts <= ? ORDER BY last_ts DESC, last_n DESC`
	}
	err := r.v.each(text, args(r.stream, r.from.A), func(scan func(...any) error) error {
		var edge scroll
		var data []byte
		if err := scan(&edge.A, &edge.B, &data); err != nil {
			return err
		}
		if r.full(edge) {
			return errEnough
		}
		lines, err := openChunk(data)
		r.add(lines)
		return err
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// rows reads what an older release has stored and nobody has packed yet.
func (r *logReader) rows() error {
	const cols = `SELECT n, ts, worker, level, msg FROM log WHERE stream = ?`
	text := cols + ` AND (ts, n) > (?, ?) ORDER BY ts, n LIMIT ?`
	if r.back {
		text = cols + ` AND (ts, n) < (?, ?) ORDER BY ts DESC, n DESC LIMIT ?`
	}
	var lines []logLine
	err := r.v.each(text, args(r.stream, r.from.A, r.from.B, r.n), func(scan func(...any) error) error {
		var l logLine
		err := scan(&l.N, &l.TS, &l.Worker, &l.Level, &l.Msg)
		lines = append(lines, l)
		return err
	})
	r.add(lines)
	return err
}

// wholeTimes is readLog with a page that has all events of the time of its last
// one: a client goes on from that time and would never see the rest.
func wholeTimes(v *view, t *task, back bool, from scroll, n int) ([]*logEvent, error) {
	events, err := readLog(v, t, back, from, n+1)
	if err != nil || len(events) == 0 {
		return events, err
	}
	last := events[min(n, len(events))-1]
	for len(events) < 20*maxRows && lo.SumBy(events, func(e *logEvent) int { return len(e.Msg) }) < 4*maxLogBytes {
		if i := slices.IndexFunc(events, func(e *logEvent) bool {
			return e.Timestamp != last.Timestamp && (e.Timestamp < last.Timestamp) == back
		}); i >= 0 {
			return events[:i], nil
		}
		end := events[len(events)-1]
		rest, err := readLog(v, t, back, scroll{end.Timestamp, end.n}, 500)
		if err != nil || len(rest) == 0 {
			return events, err
		}
		events = append(events, rest...)
	}
	return events, nil
}
