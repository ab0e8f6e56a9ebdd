package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"agentctl/internal/fsx"
)

// Retention says how much of consoles is kept. Zero is no limit.
type Retention struct {
	// LogAge is how long after it was stored a console line is kept.
	LogAge time.Duration `json:"log_age,omitempty"`
	// LogBytes is what all consoles may take, compressed.
	LogBytes int64 `json:"log_bytes,omitempty"`
}

const retentionFile = "retention.json"

// WriteRetention sets what the server in dir keeps; one that runs goes by it
// within retainEvery.
func WriteRetention(dir string, r Retention) error {
	var have Retention
	if err := fsx.ReadJSON(filepath.Join(dir, retentionFile), &have); err == nil && have == r || errors.Is(err, fs.ErrNotExist) && r == (Retention{}) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot set the retention: %w", err)
	}
	return fsx.WriteJSON(filepath.Join(dir, retentionFile), r, 0o600)
}

const retainEvery = 5 * time.Minute

// retain removes what is beyond the limits, the oldest first. Each console says
// how many lines it has lost, in their place, and the log of the server too.
func (j *janitor) retain(ctx context.Context) {
	var r Retention
	err := fsx.ReadJSON(filepath.Join(j.srv.cfg.Dir, retentionFile), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		j.log.Error("retention can't be read: everything is kept", "error", err)
		return
	}
	removed, excess := int64(0), int64(0)
	for first, more := true, true; more && ctx.Err() == nil; first = false {
		err = j.srv.store.update(ctx, func(t *tx) (err error) {
			if first && r.LogBytes > 0 {
				if _, err := t.one(`SELECT coalesce(sum(size), 0) - ? FROM log_chunk`, args(r.LogBytes), &excess); err != nil {
					return err
				}
			}
			var n int64
			n, excess, err = t.retain(r, excess)
			removed, more = removed+n, n > 0
			return err
		})
		if err != nil {
			if ctx.Err() == nil {
				j.log.Error("old console lines not removed", "error", err)
			}
			return
		}
	}
	if removed > 0 {
		j.log.Warn("console lines removed by retention", "lines", removed, "keepFor", r.LogAge, "keepBytes", r.LogBytes)
	}
}

// doomed is a chunk that goes.
type doomed struct {
	n, stream, events int64
	edge              scroll
}

// retainStep is how many chunks one transaction removes.
const retainStep = 20

// retain removes some chunks that are beyond the limits and tells how many lines
// they held, and how many bytes there are too many then.
func (t *tx) retain(r Retention, excess int64) (lines, left int64, err error) {
	old := int64(-1)
	if r.LogAge > 0 {
		old = t.now - (r.LogAge + mergeSpan).Microseconds()
	}
	var gone []doomed
	err = t.each(`SELECT n, stream, events, last_ts, last_n, stored, size FROM log_chunk WHERE kind <> 2 ORDER BY stored LIMIT ?`, args(retainStep), // 2 is chunkRemoved, as in the index
		func(scan func(...any) error) error {
			var d doomed
			var stored, size int64
			if err := scan(&d.n, &d.stream, &d.events, &d.edge.A, &d.edge.B, &stored, &size); err != nil {
				return err
			}
			if stored >= old && excess <= 0 {
				return nil
			}
			if excess > 0 {
				excess += removedRoom - size
			}
			gone = append(gone, d)
			return nil
		})
	if err != nil {
		return 0, 0, err
	}
	for _, d := range gone {
		if err := t.drop(d, r); err != nil {
			return 0, 0, err
		}
		lines += d.events
	}
	return lines, excess, nil
}

// serverWorker is whose the lines are that the server adds to a console.
const serverWorker = "agentctl server"

// removedRoom is about what the line takes that tells of removed ones.
const removedRoom = 300

// drop removes a chunk and tells so in the console, together with what was
// removed there before.
func (t *tx) drop(d doomed, r Retention) error {
	if _, err := t.exec(`DELETE FROM log_chunk WHERE n = ?`, d.n); err != nil {
		return err
	}
	dropped, told := d.events, int64(0)
	err := t.each(`DELETE FROM log_chunk WHERE stream = ? AND kind = ? RETURNING dropped, last_ts, last_n`, args(d.stream, chunkRemoved), func(scan func(...any) error) error {
		var before int64
		var edge scroll
		err := scan(&before, &edge.A, &edge.B)
		dropped, told = dropped+before, told+1
		if edge.compare(d.edge) > 0 {
			d.edge = edge
		}
		return err
	})
	if err != nil {
		return err
	}
	why := fmt.Sprintf("%d bytes of consoles", r.LogBytes)
	if r.LogAge > 0 {
		why = fmt.Sprintf("consoles for %s", r.LogAge)
	}
	line := logLine{N: d.edge.B, TS: d.edge.A, Worker: serverWorker, Level: "WARNING",
		Msg: fmt.Sprintf("agentctl server: %d lines up to here were removed: the server keeps %s", dropped, why)}
	if err := t.addChunk(d.stream, []logLine{line}, t.now, dropped); err != nil {
		return err
	}
	_, err = t.exec(`UPDATE task SET log_events = max(log_events - ? - ? + 1, 0) WHERE stream = ?`, d.events, told, d.stream)
	return err
}
