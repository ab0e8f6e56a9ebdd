package source

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"

	"agentctl/spec"
)

// Limits of what a server may send. A repository of specs is far below; what is
// above is an attack, or not a repository of specs.
const (
	maxRefs    = 16 << 20  // bytes that tell of branches and tags
	maxPack    = 256 << 20 // bytes of one answer
	maxObject  = 32 << 20  // bytes of one object
	maxContent = 1 << 30   // bytes of all objects of one answer
	maxObjects = 1 << 20
)

var errTooLarge = errors.New("too large")

// content is the pack of an answer, taken out of the channels that it may come in.
func content(caps *capability.List, res *packp.UploadPackResponse) io.Reader {
	switch {
	case caps.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, res)
	case caps.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, res)
	}
	return res
}

// checkPack refuses a pack whose objects are too large, and returns how many there
// are. It must run before anything indexes the pack, which holds objects in memory:
// a megabyte may unfold to any size.
func checkPack(r io.ReadSeeker) (int, error) {
	s := packfile.NewScanner(r)
	_, count, err := s.Header()
	if err != nil {
		return 0, fmt.Errorf("cannot read what the server sent: %w", err)
	}
	if count > maxObjects {
		return 0, fmt.Errorf("%w: the server sent %d objects", errTooLarge, count)
	}
	left := int64(maxContent)
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return 0, fmt.Errorf("cannot read what the server sent: %w", err)
		}
		w := &measured{most: h.Length}
		if h.Length > maxObject || h.Length < 0 {
			return 0, fmt.Errorf("%w: an object is larger than %s", errTooLarge, spec.Size(maxObject))
		}
		if _, _, err := s.NextObject(w); err != nil {
			return 0, fmt.Errorf("cannot read what the server sent: %w", err)
		}
		size := h.Length
		if h.Type.IsDelta() {
			size = max(size, deltaTarget(w.head))
		}
		if left -= size; size > maxObject || left < 0 {
			return 0, fmt.Errorf("%w: an object is larger than %s, or all are larger than %s", errTooLarge, spec.Size(maxObject), spec.Size(maxContent))
		}
	}
	return int(count), nil
}

// measured takes what it is told to, and keeps the beginning.
type measured struct {
	most, n int64
	head    []byte
}

func (m *measured) Write(p []byte) (int, error) {
	if m.n += int64(len(p)); m.n > m.most {
		return 0, fmt.Errorf("%w: an object is larger than it says", errTooLarge)
	}
	if lack := 20 - len(m.head); lack > 0 {
		m.head = append(m.head, p[:min(lack, len(p))]...)
	}
	return len(p), nil
}

// deltaTarget is the size of what a delta makes: the second number of two at its
// beginning, seven bits a byte. What can't be read is as large as can be.
func deltaTarget(head []byte) (size int64) {
	for range 2 {
		size = 0
		for shift := 0; ; shift += 7 {
			if len(head) == 0 || shift > 56 {
				return maxContent + 1
			}
			b := head[0]
			head = head[1:]
			size |= int64(b&0x7f) << shift
			if b&0x80 == 0 {
				break
			}
		}
	}
	return size
}
