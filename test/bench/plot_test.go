//go:build bench

package bench

import "agentctl/test/bench/chart"

// plot draws the times to the first line.
func (r results) plot() string {
	return chart.Plot("enqueue → first line of user code (logarithmic)", []chart.Bar{
		{Label: "agentctl, warm", Times: r.Ours.Warm, Colour: "#1f77b4"}, {Label: "clearml-agent, warm", Times: r.Theirs.Warm, Colour: "#bbbbbb"},
		{Label: "agentctl, cold", Times: r.Ours.Cold, Colour: "#1f77b4"}, {Label: "clearml-agent, cold", Times: r.Theirs.Cold, Colour: "#bbbbbb"},
	})
}
