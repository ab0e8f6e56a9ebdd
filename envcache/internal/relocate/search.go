package relocate

import (
	"bytes"
	"errors"
	"io"
)

// errFixed means that a file can't be changed.
var errFixed = errors.New("it can't be changed")

// mostFound is the number of finds in one file at which it counts as fixed.
const mostFound = 1 << 20

// search finds where r holds what, none in another, and tells whether all of r
// is text: a NUL is in every binary format, and in no text.
func search(r io.Reader, what []byte) (at []int64, text bool, err error) {
	buf := make([]byte, 256<<10)
	text = true
	base, kept := int64(0), 0 // where in r the buffer begins; what is left from the last read
	for {
		n, err := io.ReadFull(r, buf[kept:])
		text = text && bytes.IndexByte(buf[kept:kept+n], 0) < 0
		have := buf[:kept+n]
		next := 0
		for {
			i := bytes.Index(have[next:], what)
			if i < 0 {
				break
			}
			at = append(at, base+int64(next+i))
			next += i + len(what)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return at, text, nil
		case err != nil:
			return nil, false, err
		case len(at) > mostFound:
			return nil, false, errFixed
		}
		// The end may be the beginning of a find.
		keep := max(next, len(have)-len(what)+1)
		base += int64(keep)
		kept = copy(buf, have[keep:])
	}
}
