package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// logLine is a console event in a chunk. Its number is unique in the stream and
// rises as events come, so that those of the same time keep their order.
type logLine struct {
	N, TS              int64 // ms
	Worker, Level, Msg string
}

func (a logLine) compare(b logLine) int { return scroll{a.TS, a.N}.compare(scroll{b.TS, b.N}) }

// Kinds of chunks.
const (
	chunkWhole   = 0
	chunkSmall   = 1 // to be put together with others
	chunkRemoved = 2 // tells what retention has removed
)

// Bounds of a chunk before it is compressed. What is smaller than smallChunk is
// put together with others once there are mergeChunks of it, in the transaction of
// the request that brings the last one: so the work of a line is bounded, and a
// reader of a page opens a few chunks.
const (
	chunkBytes  = 256 << 10
	chunkEvents = 2048
	smallChunk  = 32 << 10
	mergeChunks = 32
)

var (
	packer, _   = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(chunkBytes), zstd.WithLowerEncoderMem(true)) // only options can fail
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(64<<20))                                           // as above
)

// addLines stores console events of one stream in chunks.
func (t *tx) addLines(stream int64, lines []logLine) error {
	if len(lines) == 0 {
		return nil
	}
	var next int64
	if _, err := t.one(`UPDATE stream SET next = next + ? WHERE n = ? RETURNING next`, args(len(lines), stream), &next); err != nil {
		return err
	}
	for i := range lines { // from 1: a line of time 0 and number 0 would be the place that stands for the beginning
		lines[i].N = next - int64(len(lines)) + int64(i) + 1
	}
	if err := t.addChunks(stream, lines, t.now); err != nil {
		return err
	}
	return t.mergeSmall(stream)
}

// addChunks stores lines in as many chunks as their size asks for.
func (t *tx) addChunks(stream int64, lines []logLine, stored int64) error {
	slices.SortFunc(lines, logLine.compare)
	for len(lines) > 0 {
		size, n := 0, 0
		for n < len(lines) && n < chunkEvents && (n == 0 || size+len(lines[n].Msg) <= chunkBytes) {
			size += len(lines[n].Msg)
			n++
		}
		if err := t.addChunk(stream, lines[:n], stored, 0); err != nil {
			return err
		}
		lines = lines[n:]
	}
	return nil
}

// addChunk stores one chunk; with dropped it stands for lines that are gone.
func (t *tx) addChunk(stream int64, lines []logLine, stored, dropped int64) error {
	raw := packLines(lines)
	kind := chunkWhole
	switch {
	case dropped > 0:
		kind = chunkRemoved
	case len(raw) < smallChunk && len(lines) < chunkEvents/2:
		kind = chunkSmall
	}
	data := packer.EncodeAll(raw, nil)
	first, last := lines[0], lines[len(lines)-1]
	_, err := t.exec(`INSERT INTO log_chunk(stream, first_ts, first_n, last_ts, last_n, events, stored, kind, dropped, size, data) VALUES(?,?,?,?,?,?,?,?,?,?,?)`,
		stream, first.TS, first.N, last.TS, last.N, len(lines), stored, kind, dropped, len(data), data)
	return err
}

// openChunk reads the lines of a chunk, in their order.
func openChunk(data []byte) (lines []logLine, err error) {
	raw, err := unpacker.DecodeAll(data, nil)
	if err == nil {
		lines, err = unpackLines(string(raw))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read a piece of a console: %w", err)
	}
	return lines, nil
}

// packLines writes lines one after the other: number, time, and the three texts
// with their lengths. A page of a console is read in a fraction of the time that
// JSON takes.
func packLines(lines []logLine) []byte {
	var b []byte
	for _, l := range lines {
		b = binary.AppendVarint(binary.AppendVarint(b, l.N), l.TS)
		for _, text := range []string{l.Worker, l.Level, l.Msg} {
			b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
		}
	}
	return b
}

var errTorn = errors.New("it ends in the midst of a line")

func unpackLines(raw string) (lines []logLine, err error) {
	for len(raw) > 0 {
		var l logLine
		for _, n := range []*int64{&l.N, &l.TS} {
			v, size := binary.Varint([]byte(raw[:min(len(raw), binary.MaxVarintLen64)]))
			if size <= 0 {
				return nil, errTorn
			}
			*n, raw = v, raw[size:]
		}
		for _, text := range []*string{&l.Worker, &l.Level, &l.Msg} {
			v, size := binary.Uvarint([]byte(raw[:min(len(raw), binary.MaxVarintLen64)]))
			if size <= 0 || v > uint64(len(raw)-size) {
				return nil, errTorn
			}
			*text, raw = raw[size:size+int(v)], raw[size+int(v):] //nolint:gosec // not above the length
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// mergeSpan bounds the time between the lines of a chunk, which retention removes
// as a whole.
const mergeSpan = 10 * time.Minute

// mergeSmall puts small chunks of a stream together when there are enough; those
// that came longer ago stay as they are.
func (t *tx) mergeSmall(stream int64) error {
	var n int
	if _, err := t.one(`SELECT count(*) FROM log_chunk WHERE stream = ? AND kind = 1`, args(stream), &n); err != nil || n < mergeChunks {
		return err
	}
	retired, err := t.exec(`UPDATE log_chunk SET kind = 0 WHERE stream = ? AND kind = 1 AND stored < ?`, stream, t.now-mergeSpan.Microseconds())
	if err != nil || retired > 0 {
		return err
	}
	var all []logLine
	stored := t.now
	err = t.each(`SELECT stored, data FROM log_chunk WHERE stream = ? AND kind = 1`, args(stream), func(scan func(...any) error) error {
		var at int64
		var data []byte
		if err := scan(&at, &data); err != nil {
			return err
		}
		lines, err := openChunk(data)
		all, stored = append(all, lines...), min(stored, at)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := t.exec(`DELETE FROM log_chunk WHERE stream = ? AND kind = 1`, stream); err != nil {
		return err
	}
	return t.addChunks(stream, all, stored)
}

// packRows puts rows of an older release into chunks; it tells whether there are
// more. The rows of one stream keep their numbers, and so their order.
func (t *tx) packRows() (more bool, err error) {
	var stream int64
	found, err := t.one(`SELECT stream FROM log ORDER BY n LIMIT 1`, nil, &stream)
	if err != nil || !found {
		return false, err
	}
	var lines []logLine
	size := 0
	err = t.each(`SELECT n, ts, worker, level, msg FROM log WHERE stream = ? ORDER BY ts, n LIMIT ?`, args(stream, purgeRows), func(scan func(...any) error) error {
		var l logLine
		err := scan(&l.N, &l.TS, &l.Worker, &l.Level, &l.Msg)
		if size += len(l.Msg); size <= 4*chunkBytes || len(lines) == 0 {
			lines = append(lines, l)
		}
		return err
	})
	if err != nil {
		return false, err
	}
	last := lines[len(lines)-1]
	if _, err := t.exec(`DELETE FROM log WHERE stream = ? AND (ts, n) <= (?, ?)`, stream, last.TS, last.N); err != nil {
		return false, err
	}
	return true, t.addChunks(stream, lines, t.now)
}
