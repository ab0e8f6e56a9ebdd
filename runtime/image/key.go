package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// format changes when layers are unpacked in another way than before.
const format = 1

// hashOf makes a key of a shelf.
func hashOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// way is how the layers of this store are unpacked: those of another way are other
// entries.
func (s *Store) way() string {
	if s.asSeen != "" {
		return s.asSeen
	}
	return fmt.Sprintf("%d %d %t", format, s.opts.Shift, s.opts.Rootless)
}

func (s *Store) layerKey(diffID string) string { return hashOf("layer", s.way(), diffID) }

func (s *Store) imageKey(digest string) string { return hashOf("image", s.way(), digest) }

func refKey(ref, platform string) string { return hashOf("ref", ref, platform) }

// short is a digest for people.
func short(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex[:min(12, len(hex))]
}
