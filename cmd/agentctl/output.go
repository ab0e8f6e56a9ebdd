package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"agentctl/spec"

	"github.com/spf13/cobra"
)

// output is the flag -o.
type output struct {
	format  string
	allowed []string
}

func newOutput(allowed ...string) *output { return &output{allowed: allowed} }

func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "", "output format: "+strings.Join(o.allowed, ", "))
	run := cmd.RunE
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if o.format != "" && !slices.Contains(o.allowed, o.format) {
			return &usageError{fmt.Errorf("unknown output format %q; write one of %s", o.format, strings.Join(o.allowed, ", "))}
		}
		return run(c, args)
	}
}

// structured tells whether the output is for programs.
func (o *output) structured() bool { return o.format == "json" || o.format == "yaml" }

// write prints v as json or yaml.
func (o *output) write(w io.Writer, v any) error {
	if o.format == "yaml" {
		text, err := spec.MarshalYAML(v)
		if err != nil {
			return fmt.Errorf("cannot print as yaml: %w", err)
		}
		_, err = w.Write(text)
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table prints rows under a header, columns aligned.
func table(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			row[i] = printable(cell)
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// printable keeps a hostile string from moving the terminal's cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// age prints a time as kubectl does: the two largest units.
func age(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return duration(now.Sub(since))
}

func duration(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 10*time.Minute:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 3*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
