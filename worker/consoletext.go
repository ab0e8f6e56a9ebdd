package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/runtime"
)

// segment maps a stretch of text to the frame it came from.
type segment struct {
	frame int64 // offset of the frame
	skip  int   // bytes of the frame's data before this stretch
	size  int
	time  time.Time
}

// Ways in which collect ends.
type collected int

const (
	consoleMore    collected = iota // there is, or will be, more
	consoleSilence                  // nothing came for partialAfter
	consoleEnd                      // the task has ended and all is read
)

// collect reads frames until a batch is full, or flushAfter has passed since its
// first byte, or nothing more comes.
func (s *sender) collect(ctx context.Context, console *runtime.ConsoleReader) (collected, error) {
	wait := partialAfter
	if len(s.text) == 0 {
		wait = time.Hour
	}
	deadline := time.Now().Add(wait)
	fresh := false
	for len(s.text) < maxBatch {
		next, cancel := context.WithDeadline(ctx, deadline)
		frame, err := console.Next(next)
		cancel()
		switch {
		case err == nil:
			s.add(frame)
			if !fresh {
				fresh, deadline = true, time.Now().Add(flushAfter)
			}
		case errors.Is(err, io.EOF):
			return consoleEnd, nil
		case ctx.Err() != nil:
			return consoleMore, context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded):
			if fresh {
				return consoleMore, nil
			}
			return consoleSilence, nil
		default:
			return consoleMore, err
		}
	}
	return consoleMore, nil
}

// add takes a frame's data; the part that an earlier sender has sent is skipped.
func (s *sender) add(f runtime.Frame) {
	skip := 0
	if len(s.text) == 0 && f.Start == s.cur.Sent.Pos.Frame {
		skip = min(s.cur.Sent.Pos.Skip, len(f.Data))
	}
	s.text = append(s.text, f.Data[skip:]...)
	s.ends = append(s.ends, segment{frame: f.Start, skip: skip, size: len(f.Data) - skip, time: f.Time})
}

// batch turns the first bytes of text into events of at most maxEvent, cut at
// line ends where there is one.
func (s *sender) batch(size int) ([]clearml.LogEvent, []mark, int) {
	var events []clearml.LogEvent
	var marks []mark
	used, last := 0, s.cur.Sent.Time
	for used < size && (len(events) == 0 || !s.single) {
		n := min(size-used, maxEvent)
		if used+n < size {
			if cut := bytes.LastIndexByte(s.text[used:used+n], '\n') + 1; cut > 0 {
				n = cut
			}
		}
		at, pos := s.locate(used, used+n)
		last = max(last+1, at.UnixMilli())
		msg := s.message(s.text[used : used+n])
		marks = append(marks, mark{last, pos, checksum(msg)})
		events = append(events, clearml.LogEvent{
			Type: "log", Task: s.task, Worker: s.worker, Level: "DEBUG", Timestamp: last, Msg: msg,
		})
		used += n
	}
	return events, marks, used
}

// locate gives the time of the byte at from and the position behind the byte
// before to.
func (s *sender) locate(from, to int) (at time.Time, behind position) {
	for _, e := range s.ends {
		if from >= 0 && from < e.size {
			at = e.time
		}
		from -= e.size
		if to <= e.size {
			return at, position{e.frame, e.skip + to}
		}
		to -= e.size
	}
	panic("console: text without a frame")
}

// drop forgets the first n bytes of text.
func (s *sender) drop(n int) {
	s.text = s.text[n:]
	for n > 0 {
		e := &s.ends[0]
		if n < e.size {
			e.skip, e.size = e.skip+n, e.size-n
			return
		}
		n -= e.size
		s.ends = s.ends[1:]
	}
}

// message is what the server shows of raw console bytes.
func (s *sender) message(raw []byte) string {
	text := strings.ToValidUTF8(string(collapse(raw)), "\uFFFD")
	for _, secret := range s.hide {
		text = strings.ReplaceAll(text, secret, "********")
	}
	return strings.TrimSuffix(text, "\n")
}

// collapse keeps of a line that was written over with carriage returns, as
// progress bars do, only what a terminal would show in the end.
func collapse(raw []byte) []byte {
	if bytes.IndexByte(raw, '\r') < 0 {
		return raw
	}
	var out []byte
	for line := range bytes.Lines(raw) {
		body, end := bytes.CutSuffix(line, []byte("\n"))
		body = bytes.TrimRight(body, "\r")
		out = append(out, body[bytes.LastIndexByte(body, '\r')+1:]...)
		if end {
			out = append(out, '\n')
		}
	}
	return out
}
