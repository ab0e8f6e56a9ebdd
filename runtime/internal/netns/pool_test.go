package netns

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever networks a host has, the range is none of theirs.
func TestPickedRangeIsNobodys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		known := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
			// Most of them where ranges are taken from.
			c := rapid.SampledFrom(append(candidates, blocks...)).Draw(t, "near")
			a := c.Addr().As4()
			a[1] += rapid.ByteRange(0, 3).Draw(t, "b")
			a[2] = rapid.Byte().Draw(t, "c")
			return netip.PrefixFrom(netip.AddrFrom4(a), rapid.IntRange(8, 32).Draw(t, "bits")).Masked()
		}), 0, 60).Draw(t, "known")
		r, ok := pick(known)
		if !ok {
			return
		}
		if r != r.Masked() || r.Bits() != rangeBits {
			t.Fatalf("%s is no range", r)
		}
		private := false
		for _, b := range blocks {
			private = private || b.Overlaps(r) && b.Bits() <= r.Bits()
		}
		if !private || overlaps(r, known) {
			t.Fatalf("%s is somebody's", r)
		}
	})
}

func TestPick(t *testing.T) {
	p := netip.MustParsePrefix
	for _, tt := range []struct {
		known []netip.Prefix
		want  string
	}{
		{nil, "10.213.0.0/20"},
		// An organisation that uses 10.0.0.0/8 may use all of it.
		{[]netip.Prefix{p("10.1.2.0/24")}, "172.29.0.0/20"},
		{[]netip.Prefix{p("10.1.2.0/24"), p("172.17.0.0/16")}, "192.168.128.0/20"},
		{[]netip.Prefix{p("10.1.2.0/24"), p("172.17.0.0/16"), p("192.168.1.0/24")}, "198.18.0.0/20"},
		{[]netip.Prefix{p("10.213.0.0/21"), p("172.17.0.0/16"), p("192.168.1.0/24"), p("198.18.0.0/15")}, "10.213.16.0/20"},
		{[]netip.Prefix{p("10.0.0.0/8"), p("172.16.0.0/12"), p("192.168.0.0/17"), p("198.18.0.0/15")}, "192.168.128.0/20"},
	} {
		if got, ok := pick(tt.known); !ok || got.String() != tt.want {
			t.Errorf("%v: %s, %v; want %s", tt.known, got, ok, tt.want)
		}
	}
	if got, ok := pick([]netip.Prefix{p("0.0.0.0/1"), p("128.0.0.0/1")}); ok {
		t.Errorf("picked %s where all is known", got)
	}
}

// Sandboxes that come and go never share an address.
func TestPairsNeverCollide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := netip.PrefixFrom(rapid.SampledFrom(candidates).Draw(t, "range").Addr(), rapid.IntRange(rangeBits, 29).Draw(t, "bits"))
		living := map[int]bool{}
		owner := map[netip.Addr]int{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			start := rapid.IntRange(0, pairs(r)-1).Draw(t, "start")
			n, ok := free(func(n int) bool { return living[n] }, pairs(r), start)
			if !ok && len(living) < pairs(r) {
				t.Fatal("none is free, it says")
			}
			if ok {
				gateway, inside := pair(r, n)
				for _, a := range []netip.Addr{gateway.Addr(), inside.Addr()} {
					if other, taken := owner[a]; taken || !r.Contains(a) {
						t.Fatalf("%s of %d: taken %v by %d", a, n, taken, other)
					}
					owner[a] = n
				}
				if gateway.Masked() != inside.Masked() {
					t.Fatalf("%s and %s don't see each other", gateway, inside)
				}
				living[n] = true
			}
			if len(living) > 0 && rapid.Bool().Draw(t, "one ends") {
				n := rapid.SampledFrom(slices.Sorted(maps.Keys(living))).Draw(t, "which")
				gateway, inside := pair(r, n)
				delete(owner, gateway.Addr())
				delete(owner, inside.Addr())
				delete(living, n)
			}
		}
	})
}
