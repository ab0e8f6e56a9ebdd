package spec

import "time"

// Duration is a length of time, written as "90s", "10m", "24h" or "7d".
type Duration time.Duration

// Size is a number of bytes, written as "512Mi", "16Gi", "100G" or a bare number.
type Size int64
