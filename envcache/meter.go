package envcache

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// meterPause is the time between two words about one download.
const meterPause = 5 * time.Second

// meter turns pip's raw progress, four lines per second, into a line for a
// person every few seconds.
type meter struct {
	say  func(string)
	now  func() time.Time
	last time.Time
}

var rawProgress = regexp.MustCompile(`^Progress (\d+) of (\d+)$`)

// take tells whether the line was raw progress.
func (m *meter) take(line string) bool {
	found := rawProgress.FindStringSubmatch(line)
	if found == nil {
		return false
	}
	if now := m.now(); now.Sub(m.last) >= meterPause {
		m.last = now
		m.say("downloaded " + megabytes(found[1]) + " of " + megabytes(found[2]) + " MB")
	}
	return true
}

func megabytes(bytes string) string {
	n, err := strconv.ParseFloat(bytes, 64)
	if err != nil || n == 0 {
		return "?"
	}
	return fmt.Sprintf("%.1f", n/1e6)
}
