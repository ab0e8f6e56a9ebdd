package chart

import (
	"fmt"
	"strings"
	"time"
)

// Panel is one measurement, taken at several sizes.
type Panel struct {
	Label string
	Times []time.Duration // one for each size
}

// Sizes of one panel, in pixels.
const (
	panelWide = 300
	panelHigh = 150
	columns   = 3
	inset     = 24
)

// Growth draws how times grow with a size, a panel for each measurement. The dashed
// line is twice the time at the first size.
func Growth(title string, sizes []int, panels []Panel) string {
	rows := (len(panels) + columns - 1) / columns
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", columns*panelWide, top+rows*panelHigh)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="24" font-size="15">%s</text>`+"\n", inset, title)
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`, i%columns*panelWide, top+i/columns*panelHigh)
		p.draw(&b, sizes)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p Panel) draw(b *strings.Builder, sizes []int) {
	largest := 2.4 * p.Times[0].Seconds()
	for _, t := range p.Times {
		largest = max(largest, 1.2*t.Seconds())
	}
	const wide, high = panelWide - 3*inset, panelHigh - 2*inset - 20
	y := func(t time.Duration) float64 { return 18 + high*(1-t.Seconds()/largest) }
	x := func(i int) float64 { return inset + wide*float64(sizes[i])/float64(max(1, sizes[len(sizes)-1])) }
	fmt.Fprintf(b, `<text x="%d" y="10">%s</text>`, inset, p.Label)
	fmt.Fprintf(b, `<path d="M%d 18V%dH%d" stroke="#999999" fill="none"/>`, inset, 18+high, inset+wide)
	fmt.Fprintf(b, `<path d="M%d %gH%d" stroke="#cc6666" stroke-dasharray="4 3" fill="none"/>`, inset, y(2*p.Times[0]), inset+wide)
	line := ""
	for i, t := range p.Times {
		line += fmt.Sprintf("%g,%g ", x(i), y(t))
		fmt.Fprintf(b, `<circle cx="%g" cy="%g" r="3" fill="#3366aa"/><text x="%g" y="%g">%s</text>`, x(i), y(t), x(i)+2, y(t)-6, Short(t))
		fmt.Fprintf(b, `<text x="%g" y="%d" text-anchor="middle" fill="#555555">%d</text>`, x(i), 18+high+14, sizes[i])
	}
	fmt.Fprintf(b, `<polyline points="%s" stroke="#3366aa" stroke-width="2" fill="none"/>`, strings.TrimSpace(line))
}
