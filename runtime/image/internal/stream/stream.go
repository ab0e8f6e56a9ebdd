// Package stream owns what happens to the bytes of a layer between its source and
// its archive reader: they are counted and hashed, unpacked, and hashed again, each step
// in a goroutine of its own, since each takes about as long as the others.
package stream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
	xzMagic   = []byte{0xfd, '7', 'z', 'X'}
	bzipMagic = []byte("BZh")
	// A frame of zstd that is to be skipped, as some tools begin with.
	skipMagic = []byte{0x2a, 0x4d, 0x18}
)

// window bounds what a packed stream can make its reader hold.
const window = 128 << 20

// ErrRatio means that a stream grows too much when it is unpacked.
var ErrRatio = errors.New("it grows too much when it is unpacked")

// Limits of a packed stream.
type Limits struct {
	Ratio int64 // unpacked to packed bytes; 0: no bound
	From  int64 // unpacked bytes from which on that holds
}

// Packed tells whether r, which is at its begin and stays there, is packed.
func Packed(r io.ReadSeeker) (bool, error) {
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	head = head[:n]
	_, err = r.Seek(0, io.SeekStart)
	return isGzip(head) || isZstd(head), err
}

func isGzip(head []byte) bool { return bytes.HasPrefix(head, gzipMagic) }

func isZstd(head []byte) bool {
	return bytes.HasPrefix(head, zstdMagic) || len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], skipMagic)
}

// Unpack unpacks r if it is packed, by gzip or zstd; else it gives what is in r.
func Unpack(r io.Reader, lim Limits) (io.ReadCloser, error) {
	in := &counted{r: r}
	buffered := bufio.NewReaderSize(in, 128<<10)
	head, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var plain io.ReadCloser
	switch {
	case isGzip(head):
		plain, err = gzip.NewReader(buffered)
	case isZstd(head):
		var d *zstd.Decoder
		d, err = zstd.NewReader(buffered, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(window), zstd.WithDecoderLowmem(true))
		if err == nil {
			plain = d.IOReadCloser()
		}
	case bytes.HasPrefix(head, xzMagic), bytes.HasPrefix(head, bzipMagic):
		err = errors.New("it is packed by xz or bzip2; only gzip and zstd are supported")
	default:
		plain, err = io.NopCloser(buffered), nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot unpack it: %w", err)
	}
	return &bounded{plain, in, lim, 0}, nil
}

type counted struct {
	r io.Reader
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// bounded ends a stream that grows too much.
type bounded struct {
	io.ReadCloser
	in  *counted
	lim Limits
	out int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.out += int64(n)
	if b.lim.Ratio > 0 && b.out > b.lim.From && b.out/b.lim.Ratio > b.in.n.Load() {
		return n, fmt.Errorf("%w: more than %d times", ErrRatio, b.lim.Ratio)
	}
	return n, err
}
