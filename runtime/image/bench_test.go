package image

import (
	"testing"

	"agentctl/test/imagekit"
)

// A hit is what every task pays.
func BenchmarkHit(b *testing.B) {
	r := imagekit.Serve(b, &imagekit.Registry{})
	ref := r.Push(b, "kit:1", imagekit.Tiny(b))
	s, err := Open(b.TempDir(), Options{Getenv: noEnv, Insecure: []string{r.Host()}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		l, err := s.Acquire(b.Context(), Request{Ref: ref}, nil)
		if err != nil {
			b.Fatal(err)
		}
		_ = l.Close()
	}
}
