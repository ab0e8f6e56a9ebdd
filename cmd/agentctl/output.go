package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"agentctl/spec"

	"github.com/spf13/cobra"
)

// Output formats. The zero format is what people read.
const (
	asTable = "table"
	asWide  = "wide"
	asJSON  = "json"
	asYAML  = "yaml"
	asName  = "name"
)

// output is the flag -o.
type output struct {
	format  string
	allowed []string
}

// newOutput is a flag with the formats; without it the format is "".
func newOutput(allowed ...string) *output { return &output{allowed: allowed} }

// flag adds -o to a verb that has its RunE already.
func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "", "output format: "+strings.Join(o.allowed, ", "))
	run := cmd.RunE
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if o.format != "" && !slices.Contains(o.allowed, o.format) {
			return usagef("unknown output format %q; write one of %s", o.format, strings.Join(o.allowed, ", "))
		}
		return run(c, args)
	}
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(o.allowed, cobra.ShellCompDirectiveNoFileComp)) // fails for a flag that is not there
}

// structured tells whether the output is for programs.
func (o *output) structured() bool { return o.format == asJSON || o.format == asYAML }

// write prints v as JSON, or as YAML with the same names.
func (o *output) write(w io.Writer, v any) error {
	if o.format == asYAML {
		text, err := spec.MarshalYAML(v)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table prints rows under a header, columns aligned. A nil header prints none.
func table(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	if header != nil {
		fmt.Fprintln(tw, strings.Join(header, "\t"))
	}
	for _, row := range rows {
		cells := make([]string, 0, len(row))
		for _, cell := range row {
			cells = append(cells, printable(orDash(cell)))
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	return tw.Flush()
}

// printable keeps a hostile text from moving the terminal's cursor, from hiding
// what follows it, and from making a line or a column of its own.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Bidi_Control, r) {
			return r
		}
		return '?'
	}, s)
}

// cut shortens a text for a table.
func cut(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most-1]) + "…"
}

// age prints how long ago a time is, as kubectl does.
func age(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	return human(now.Sub(since))
}

// human prints a duration as kubectl prints ages: one or two units, the finer the
// shorter it is.
func human(d time.Duration) string {
	d = max(d, 0)
	minutes, hours, days := int(d.Minutes()), int(d.Hours()), int(d.Hours()/24)
	rest := func(n int, unit string) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("%d%s", n, unit)
	}
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case minutes < 10:
		return fmt.Sprintf("%dm", minutes) + rest(int(d.Seconds())%60, "s")
	case hours < 3:
		return fmt.Sprintf("%dm", minutes)
	case hours < 8:
		return fmt.Sprintf("%dh", hours) + rest(minutes%60, "m")
	case hours < 48:
		return fmt.Sprintf("%dh", hours)
	case days < 8:
		return fmt.Sprintf("%dd", days) + rest(hours%24, "h")
	case days < 365*2:
		return fmt.Sprintf("%dd", days)
	}
	return fmt.Sprintf("%dy", days/365) + rest(days%365, "d")
}

// span prints how long a step took: what people compare, to three digits.
func span(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < 10*time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return human(d)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// plural is a number with its noun.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
