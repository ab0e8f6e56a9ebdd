package stream

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noise(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(b, nil)
}

func TestUnpack(t *testing.T) {
	plain := noise(300_000)
	skipped := append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}, zstded(plain)...)
	for name, tc := range map[string]struct {
		in     []byte
		want   []byte
		packed bool
	}{
		"plain": {plain, plain, false}, "gzip": {gzipped(plain), plain, true}, "zstd": {zstded(plain), plain, true}, "zstd behind a skipped frame": {skipped, plain, true},
		"two gzips": {append(gzipped(plain[:1000]), gzipped(plain[1000:])...), plain, true}, "nothing": {nil, nil, false}, "one byte": {[]byte{0x1f}, []byte{0x1f}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := bytes.NewReader(tc.in)
			if packed, err := Packed(r); err != nil || packed != tc.packed || r.Len() != len(tc.in) {
				t.Errorf("packed %v, %d bytes left, %v", packed, r.Len(), err)
			}
			u, err := Unpack(iotest.HalfReader(r), Limits{Ratio: 10, From: 1000})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(u)
			if err != nil || !bytes.Equal(got, tc.want) || u.Close() != nil {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestBombs(t *testing.T) {
	bomb := make([]byte, 10<<20)
	for name, in := range map[string][]byte{"gzip": gzipped(bomb), "zstd": zstded(bomb)} {
		for _, tc := range []struct {
			lim Limits
			ok  bool
		}{{Limits{Ratio: 100, From: 1 << 20}, false}, {Limits{Ratio: 100, From: 100 << 20}, true}, {Limits{}, true}} {
			u, err := Unpack(bytes.NewReader(in), tc.lim)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, u)
			if tc.ok && (err != nil || n != 10<<20) || !tc.ok && (!errors.Is(err, ErrRatio) || n > 4<<20) {
				t.Errorf("%s with %+v: %d bytes, %v", name, tc.lim, n, err)
			}
			_ = u.Close()
		}
	}
}

func TestBroken(t *testing.T) {
	whole := gzipped(noise(1000))
	for name, in := range map[string][]byte{"cut": whole[:500], "changed": append(bytes.Clone(whole[:500]), append([]byte{whole[500] ^ 1}, whole[501:]...)...), "head alone": whole[:5], "xz": []byte("\xfd7zXZ\x00\x00"), "bzip2": []byte("BZh91AY"), "zstd cut": zstded(noise(1000))[:500]} {
		u, err := Unpack(bytes.NewReader(in), Limits{})
		if err == nil {
			_, err = io.Copy(io.Discard, u)
			_ = u.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// All arrives, in order, and is hashed, however it comes.
func TestAhead(t *testing.T) {
	plain := noise(3_000_000)
	boom := errors.New("boom")
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(plain), "in parts": iotest.HalfReader(bytes.NewReader(plain)), "with its end": iotest.DataErrReader(bytes.NewReader(plain)),
		"then a failure": io.MultiReader(bytes.NewReader(plain), iotest.ErrReader(boom)),
	} {
		sum := sha256.New()
		a := NewAhead(r, sum, 3)
		got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(a, 100)))
		rest, rerr := io.ReadAll(a)
		if err != nil || !bytes.Equal(append(got, rest...), plain) || (rerr != nil) != (name == "then a failure") || rerr != nil && !errors.Is(rerr, boom) {
			t.Errorf("%s: %d bytes, %v, %v", name, len(got)+len(rest), err, rerr)
		}
		if want := sha256.Sum256(plain); !bytes.Equal(sum.Sum(nil), want[:]) {
			t.Errorf("%s: another digest", name)
		}
		_ = a.Close()
	}
}

func TestAheadIsClosedEarly(t *testing.T) {
	a := NewAhead(endless{}, nil, 3)
	if _, err := io.ReadFull(a, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_, _ = a.Close(), a.Close()
	if n, err := io.Copy(io.Discard, a); err == nil || n > 4*buffer {
		t.Errorf("after the end %d bytes, %v", n, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
