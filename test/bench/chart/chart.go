// Package chart draws the times of a measurement as a plot in SVG.
package chart

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Bar is one line of a plot.
type Bar struct {
	Label  string
	Times  []time.Duration
	Colour string
}

// Sizes of the plot, in pixels.
const (
	labels   = 260 // width of the labels
	chart    = 560 // width of the bars
	lineHigh = 44
	top      = 50
)

// Quantile of the times; q from 0 to 1.
func Quantile(times []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// The axis is logarithmic, from 100 µs to 1,000 s.
func place(d time.Duration) float64 {
	return labels + chart*min(1, max(0, (math.Log10(d.Seconds())+4)/7))
}

// Plot draws times as bars, with whiskers from p5 to p95.
func Plot(title string, bars []Bar) string {
	height := top + lineHigh*len(bars) + 40
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", labels+chart+110, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="24" font-size="15">%s</text>`+"\n", labels, title)
	for tick := 100 * time.Microsecond; tick <= 1000*time.Second; tick *= 10 {
		fmt.Fprintf(&b, `<line x1="%[1]g" x2="%[1]g" y1="%[2]d" y2="%[3]d" stroke="#dddddd"/><text x="%[1]g" y="%[4]d" text-anchor="middle" fill="#555555">%[5]s</text>`+"\n",
			place(tick), top-8, height-34, height-16, Short(tick))
	}
	for i, one := range bars {
		one.draw(&b, top+lineHigh*i)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (one Bar) draw(b *strings.Builder, y int) {
	median, low, high := Quantile(one.Times, 0.5), Quantile(one.Times, 0.05), Quantile(one.Times, 0.95)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labels-10, y+20, one.Label)
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%g" height="26" fill="%s"/>`, labels, y+2, place(median)-labels, one.Colour)
	fmt.Fprintf(b, `<line x1="%g" x2="%g" y1="%d" y2="%d" stroke="#222222" stroke-width="2"/>`, place(low), place(high), y+15, y+15)
	fmt.Fprintf(b, `<text x="%g" y="%d">%s</text>`+"\n", place(high)+8, y+20, Short(median))
}

// Short is a time as people write it: 0.3 ms, 128 ms, 26.9 s.
func Short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2g ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second && d%time.Second != 0:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
