package runtime

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// traffic are the bytes that a cgroup's processes read from devices and wrote to them; 0
// where the kernel does not count them. What is in caches alone is not in it,
// nor, with cgroup v1, what the kernel writes later.
func traffic(groups map[string]string) (read, written int64) {
	dir, file := groups["blkio"], "blkio.throttle.io_service_bytes_recursive"
	if dir == "" {
		dir, file = groups[""], "io.stat"
	}
	if dir == "" {
		return 0, 0
	}
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, 0
	}
	return trafficOf(string(data))
}

// trafficOf adds up the devices: "8:0 rbytes=1 wbytes=2 …" of cgroup v2, "8:0 Read 1" and
// "8:0 Write 2" of v1.
func trafficOf(text string) (read, written int64) {
	add := func(to *int64, value string) {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 {
			*to += n
		}
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[1] == "Read" {
			add(&read, fields[2])
		}
		if len(fields) == 3 && fields[1] == "Write" {
			add(&written, fields[2])
		}
		for _, f := range fields {
			if v, ok := strings.CutPrefix(f, "rbytes="); ok {
				add(&read, v)
			}
			if v, ok := strings.CutPrefix(f, "wbytes="); ok {
				add(&written, v)
			}
		}
	}
	return read, written
}
