package image

import (
	"os"
	"path/filepath"
	"time"

	"agentctl/internal/shelf"
)

// Lease is a hold on an image. Its layers stay as they are and where they are as long
// as any copy of its descriptor is open, in this process or another one.
type Lease struct {
	Ref    string // as it was asked for, in its one spelling
	Digest string // of the manifest
	// Layers are folders for overlayfs, the topmost first. None of them is to be
	// written to.
	Layers []string
	Config Config
	Bytes  int64 // of the files of all layers
	Pulled bool  // it was not here before
	Took   time.Duration
	// Host is the host's own root in place of an image: there is no layer, no digest and
	// nothing that is held.
	Host bool

	held *shelf.Lease[imageRecord]
}

// Pinned is a reference that means this very image from now on.
func (l *Lease) Pinned() string {
	if l.Host {
		return Host
	}
	ref, err := ParseReference(l.Ref)
	if err != nil {
		return l.Digest
	}
	return ref.pinned(l.Digest)
}

// File holds the lease, for a child that outlives this process; nil for the host.
func (l *Lease) File() *os.File {
	if l.held == nil {
		return nil
	}
	return l.held.File()
}

// Close gives this hold back.
func (l *Lease) Close() error {
	if l.held == nil {
		return nil
	}
	return l.held.Close()
}

func (s *Store) newLease(ref Reference, held *shelf.Lease[imageRecord]) *Lease {
	rec := held.Entry
	l := &Lease{Ref: ref.String(), Digest: rec.Digest, Config: rec.Config, Bytes: held.Bytes, Pulled: !held.Hit, held: held}
	seen := map[string]bool{}
	for i := len(rec.Layers) - 1; i >= 0; i-- {
		layer := rec.Layers[i]
		// Overlayfs refuses a folder that it has already, and a layer that comes again
		// further down adds nothing.
		if !seen[layer.Key] {
			seen[layer.Key] = true
			l.Layers = append(l.Layers, s.layerFolder(layer.Key))
		}
		if layer.Opaque {
			break
		}
	}
	return l
}

func (s *Store) layerFolder(key string) string { return filepath.Join(s.layers.Path(key), "fs") }
