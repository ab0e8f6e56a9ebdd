// Package frame owns the format of a console file: frames, appended whole, one
// after the other, by more than one process.
//
// A frame is a header of 24 bytes, little-endian, and its data:
//
//	0  4  magic
//	4  4  length of the data
//	8  8  time, nanoseconds since 1970
//	16 1  stream
//	17 3  zero
//	20 4  CRC-32C over bytes 0..19 and the data
//
// A writer that is killed, or a full disk, can leave a torn frame, behind which
// others append. So a reader must not trust a length before it has checked the
// sum, and goes on with the next good frame. The package must not know who
// writes or reads.
package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync"
	"time"
)

// Header is the size of a frame's header in bytes.
const Header = 24

// MaxData is how many bytes of data a frame holds at most.
const MaxData = 1 << 20

// Stream tells where a frame's data comes from.
type Stream uint8

// The streams.
const (
	Stdout Stream = 1
	Stderr Stream = 2
	Agent  Stream = 3
)

// String is the stream's name.
func (s Stream) String() string {
	switch s {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	case Agent:
		return "agent"
	}
	return "unknown"
}

// ParseStream is the stream of a name, 0 if there is none.
func ParseStream(name string) Stream {
	for s := Stdout; s <= Agent; s++ {
		if s.String() == name {
			return s
		}
	}
	return 0
}

// Frame is one piece of a console.
type Frame struct {
	Stream Stream
	Time   time.Time
	Data   []byte
}

var magic = [4]byte{0xF7, 'a', 'C', 0x01}

// table is made when it is needed first: the shim has started the task by then.
var table = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// Errors of Decode.
var (
	// ErrShort means that the bytes end before the frame does.
	ErrShort = errors.New("the frame is cut off")
	// ErrTorn means that there is no good frame here.
	ErrTorn = errors.New("the frame is torn")
)

// Put fills the header in front of its data: buf holds Header bytes of room and
// then at most MaxData bytes.
func Put(buf []byte, stream Stream, at time.Time) {
	copy(buf, magic[:])
	binary.LittleEndian.PutUint32(buf[4:], uint32(len(buf)-Header))
	binary.LittleEndian.PutUint64(buf[8:], uint64(at.UnixNano()))
	binary.LittleEndian.PutUint32(buf[16:], uint32(stream))
	binary.LittleEndian.PutUint32(buf[20:], sum(buf))
}

// Append appends a frame to buf; data holds at most MaxData bytes.
func Append(buf []byte, stream Stream, at time.Time, data []byte) []byte {
	start := len(buf)
	buf = append(buf, make([]byte, Header)...)
	buf = append(buf, data...)
	Put(buf[start:], stream, at)
	return buf
}

// Decode reads the frame at the beginning of buf and tells its whole size. The
// frame's data lies in buf. It fails with ErrShort or ErrTorn; with ErrShort,
// size is what the frame would need.
func Decode(buf []byte) (f Frame, size int, err error) {
	if !bytes.HasPrefix(magic[:], buf[:min(len(buf), len(magic))]) {
		return Frame{}, 0, ErrTorn
	}
	if len(buf) < Header {
		return Frame{}, Header, ErrShort
	}
	n := binary.LittleEndian.Uint32(buf[4:])
	stream := binary.LittleEndian.Uint32(buf[16:])
	if n > MaxData || stream == 0 || stream > uint32(Agent) {
		return Frame{}, 0, ErrTorn
	}
	size = Header + int(n)
	if len(buf) < size {
		return Frame{}, size, ErrShort
	}
	if sum(buf[:size]) != binary.LittleEndian.Uint32(buf[20:]) {
		return Frame{}, 0, ErrTorn
	}
	return Frame{
		Stream: Stream(stream),
		Time:   time.Unix(0, int64(binary.LittleEndian.Uint64(buf[8:]))),
		Data:   buf[Header:size],
	}, size, nil
}

// Next finds where in buf, behind its first byte, the next frame may begin:
// len(buf) if nowhere.
func Next(buf []byte) int {
	for i := 1; i < len(buf); i++ {
		at := bytes.IndexByte(buf[i:], magic[0])
		if at < 0 {
			break
		}
		i += at
		if bytes.HasPrefix(magic[:], buf[i:min(len(buf), i+len(magic))]) {
			return i
		}
	}
	return len(buf)
}

// sum leaves out the field that holds it.
func sum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:20], table()), table(), frame[Header:])
}
