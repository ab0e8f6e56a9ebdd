package spec

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written as "90s", "10m", "1h30m", "24h" or "7d".
type Duration time.Duration

// Size is a number of bytes, written as "512Mi", "16Gi", "100G" or a bare number.
type Size int64

const (
	day         = 24 * time.Hour
	durationFix = `write a number with a unit, as 90s, 10m, 1h30m, 24h or 7d`
	sizeFix     = `write a number of bytes, as 512Mi, 16Gi, 100G or 1048576`
)

var (
	errDuration = errors.New("is not a length of time")
	errLong     = errors.New("is longer than 290 years")
	errSize     = errors.New("is not a size")
	errLarge    = errors.New("is larger than 8 EiB")

	// The length is limited because a number of a million digits takes long to read.
	durationForm = regexp.MustCompile(`^(\d{1,12}d)?((\d{1,15}(\.\d{1,9})?(h|m|s|ms|us|µs|ns)){0,6})$`)
	sizeForm     = regexp.MustCompile(`^(\d{1,19}(?:\.\d{1,9})?)([KMGTPE]i?)?$`)
)

// ParseDuration reads what node.yaml allows: the units of time.ParseDuration and
// d for 24 hours; never negative.
func ParseDuration(s string) (Duration, error) {
	m := durationForm.FindStringSubmatch(s)
	if m == nil || s == "" {
		return 0, errDuration
	}
	var total time.Duration
	if m[1] != "" {
		days, err := strconv.ParseInt(strings.TrimSuffix(m[1], "d"), 10, 64)
		if err != nil || days > math.MaxInt64/int64(day) {
			return 0, errLong
		}
		total = time.Duration(days) * day
	}
	if m[2] != "" {
		rest, err := time.ParseDuration(m[2])
		if err != nil || rest > math.MaxInt64-total {
			return 0, errLong
		}
		total += rest
	}
	return Duration(total), nil
}

// String renders d so that ParseDuration reads it back.
func (d Duration) String() string {
	t := time.Duration(d)
	if t >= 2*day && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var units = []struct {
	suffix string
	bytes  int64
}{
	{"Ei", 1 << 60}, {"Pi", 1 << 50}, {"Ti", 1 << 40}, {"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10},
	{"E", 1e18}, {"P", 1e15}, {"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"K", 1e3},
}

// ParseSize reads a number of bytes with or without a unit; a part of a byte is dropped.
func ParseSize(s string) (Size, error) {
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, errSize
	}
	number, ok := new(big.Rat).SetString(m[1])
	if !ok {
		return 0, errSize
	}
	for _, u := range units {
		if u.suffix == m[2] {
			number.Mul(number, new(big.Rat).SetInt64(u.bytes))
		}
	}
	whole := new(big.Int).Quo(number.Num(), number.Denom())
	if !whole.IsInt64() {
		return 0, errLarge
	}
	return Size(whole.Int64()), nil
}

// String renders s with the unit that makes it shortest, so that ParseSize reads
// the very same number back.
func (s Size) String() string {
	best := strconv.FormatInt(int64(s), 10)
	for _, u := range units {
		if s != 0 && int64(s)%u.bytes == 0 {
			if t := strconv.FormatInt(int64(s)/u.bytes, 10) + u.suffix; len(t) < len(best) {
				best = t
			}
		}
	}
	return best
}

// MarshalYAML writes d as its text.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// MarshalYAML writes s as its text, or as a number when it has no unit.
func (s Size) MarshalYAML() (any, error) { return s.value(), nil }

// MarshalJSON writes d as its text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// MarshalJSON writes s as its text, or as a number when it has no unit.
func (s Size) MarshalJSON() ([]byte, error) { return json.Marshal(s.value()) }

func (s Size) value() any {
	if t := s.String(); t != strconv.FormatInt(int64(s), 10) {
		return t
	}
	return int64(s)
}
