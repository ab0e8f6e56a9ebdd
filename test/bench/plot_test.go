//go:build bench

package bench

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// bar is one line of the plot.
type bar struct {
	label  string
	times  []time.Duration
	colour string
}

// Sizes of the plot, in pixels.
const (
	labels   = 190 // width of the labels
	chart    = 560 // width of the bars
	lineHigh = 44
	top      = 50
)

// The axis is logarithmic, from 10 ms to 1,000 s.
func place(d time.Duration) float64 {
	return labels + chart*min(1, max(0, (math.Log10(d.Seconds())+2)/5))
}

// plot draws the times to the first line as bars, with whiskers from p5 to p95.
func (r results) plot() string {
	bars := []bar{
		{"agentctl, warm", r.Ours.Warm, "#1f77b4"}, {"clearml-agent, warm", r.Theirs.Warm, "#bbbbbb"},
		{"agentctl, cold", r.Ours.Cold, "#1f77b4"}, {"clearml-agent, cold", r.Theirs.Cold, "#bbbbbb"},
	}
	height := top + lineHigh*len(bars) + 40
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", labels+chart+110, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="24" font-size="15">enqueue → first line of user code (logarithmic)</text>`+"\n", labels)
	for _, tick := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, 100 * time.Second, 1000 * time.Second} {
		fmt.Fprintf(&b, `<line x1="%[1]g" x2="%[1]g" y1="%[2]d" y2="%[3]d" stroke="#dddddd"/><text x="%[1]g" y="%[4]d" text-anchor="middle" fill="#555555">%[5]s</text>`+"\n",
			place(tick), top-8, height-34, height-16, short(tick))
	}
	for i, one := range bars {
		one.draw(&b, top+lineHigh*i)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (one bar) draw(b *strings.Builder, y int) {
	median, low, high := quantile(one.times, 0.5), quantile(one.times, 0.05), quantile(one.times, 0.95)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labels-10, y+20, one.label)
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%g" height="26" fill="%s"/>`, labels, y+2, place(median)-labels, one.colour)
	fmt.Fprintf(b, `<line x1="%g" x2="%g" y1="%d" y2="%d" stroke="#222222" stroke-width="2"/>`, place(low), place(high), y+15, y+15)
	fmt.Fprintf(b, `<text x="%g" y="%d">%s</text>`+"\n", place(high)+8, y+20, short(median))
}

// short is a time as people write it: 128 ms, 26.9 s.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second && d%time.Second != 0:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
