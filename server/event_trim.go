package server

import (
	"encoding/json"
	"fmt"
)

// keptIters is how many iterations are kept of a plot, an image or a vector, by
// metric and variant: the newest. The real server has no such bound, but a task
// that sends a plot with every step would fill the disk.
const keptIters = 1000

// addSample stores a plot, an image or a vector. The same metric, variant and
// iteration again replaces it.
func (t *tx) addSample(c *call, b *batch, e *event) error {
	doc, err := e.complete()
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO sample(stream, kind, metric, variant, iter, ts, doc) VALUES(?,?,?,?,?,?,?)
		ON CONFLICT(stream, kind, metric, variant, iter) DO UPDATE SET ts = excluded.ts, doc = excluded.doc`,
		b.stream, e.Type, e.Metric, e.Variant, e.iter, e.ts, string(doc))
	if err != nil {
		return err
	}
	if e.Type == typeImage {
		if err := t.dropOverwritten(b.stream, e); err != nil {
			return err
		}
	}
	return t.trim(c, b, e)
}

// dropOverwritten removes earlier images at the address of this one: the SDK goes
// round in a set of names, so their file has been replaced and shows another
// iteration now.
func (t *tx) dropOverwritten(stream int64, e *event) error {
	var image struct {
		URL string `json:"url"`
	}
	_ = json.Unmarshal(e.raw, &image) // what is no address as the protocol has it is kept as it came
	if image.URL == "" {
		return nil
	}
	_, err := t.exec(`DELETE FROM sample INDEXED BY sample_image WHERE stream = ? AND kind = '`+typeImage+`' AND metric = ? AND variant = ? AND json_extract(doc, '$.url') = ? AND iter < ?`,
		stream, e.Metric, e.Variant, image.URL, e.iter)
	return err
}

// trim removes what is beyond keptIters. The task's console says so the first time.
func (t *tx) trim(c *call, b *batch, e *event) error {
	var oldest, total int64
	found, err := t.one(`SELECT iter FROM sample WHERE stream = ? AND kind = ? AND metric = ? AND variant = ? ORDER BY iter DESC LIMIT 1 OFFSET ?`,
		args(b.stream, e.Type, e.Metric, e.Variant, keptIters), &oldest)
	if err != nil || !found {
		return err
	}
	removed, err := t.exec(`DELETE FROM sample WHERE stream = ? AND kind = ? AND metric = ? AND variant = ? AND iter <= ?`, b.stream, e.Type, e.Metric, e.Variant, oldest)
	if err != nil {
		return err
	}
	_, err = t.one(`INSERT INTO trimmed(stream, kind, events) VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET events = events + ?3 RETURNING events`,
		args(b.stream, e.Type, removed), &total)
	if err != nil || total != removed {
		return err
	}
	id := e.Task
	t.onCommit(func() {
		c.srv.log.Warn("the oldest events of a task are removed from here on", "task", id, "type", e.Type, "metric", e.Metric, "keptIterations", keptIters)
	})
	if b.task != nil {
		b.lines = append(b.lines, logLine{TS: t.now / 1000, Worker: serverWorker, Level: "WARNING", Msg: fmt.Sprintf(
			"agentctl server: of each %s the newest %d iterations are kept: older ones are removed from here on", e.Type, keptIters)})
	}
	return nil
}
