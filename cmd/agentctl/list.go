package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// column is one column of a table of T.
type column[T any] struct {
	head string
	wide bool // only with -o wide
	cell func(T, time.Time) string
}

// kind is what `get` can list.
type kind[T any] struct {
	use, short string
	// noun is what messages call what is listed; "" is use.
	noun    string
	aliases []string
	example string
	columns []column[T]
	// name is what is printed with -o name, and what an argument is compared with.
	name func(T) string
	// prefix lets the beginning of a name stand for it.
	prefix bool
	// follow calls see with the present list, and, if watching, with newer ones
	// until ctx ends or see fails.
	follow func(ctx context.Context, watching bool, see func([]T) error) error
	// single says that there is always one; programs get it without a list.
	single bool
	// yaml, if set, is what -o yaml prints in place of the value.
	yaml func(T) ([]byte, error)
}

// listFlags are the flags of `get`.
type listFlags struct {
	*output
	watch, noHeaders bool
}

// listCmd makes the verb `get KIND [NAME…]`.
func listCmd[T any](a *app, k kind[T]) *cobra.Command {
	f := listFlags{output: newOutput(asTable, asWide, asJSON, asYAML, asName)}
	cmd := &cobra.Command{
		Use: k.use + " [NAME…]", Short: k.short, Aliases: k.aliases, Example: k.example,
		RunE: func(cmd *cobra.Command, args []string) error {
			p := printer[T]{kind: k, listFlags: f, to: a.Stdout, now: time.Now}
			p.single = k.single || len(args) == 1 && !f.watch
			return k.follow(cmd.Context(), f.watch, func(list []T) error {
				list, err := k.choose(list, args)
				if err != nil && !f.watch { // what is watched may come and go
					return err
				}
				if err := p.print(list); err != nil || f.watch {
					return err
				}
				if len(list) == 0 && !f.structured() && f.format != asName && !a.quiet {
					fmt.Fprintf(a.Stderr, "there are no %s\n", either(k.noun, k.use))
				}
				return nil
			})
		},
	}
	f.flag(cmd)
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "print what changes, until interrupted")
	cmd.Flags().BoolVar(&f.noHeaders, "no-headers", false, "print no header")
	return cmd
}

// choose keeps what the arguments name; without arguments everything.
func (k kind[T]) choose(list []T, args []string) ([]T, error) {
	if len(args) == 0 {
		return list, nil
	}
	var out []T
	var missing []string
	for _, arg := range args {
		found := slices.DeleteFunc(slices.Clone(list), func(v T) bool { return k.name(v) != arg })
		if len(found) == 0 && k.prefix && arg != "" {
			found = slices.DeleteFunc(slices.Clone(list), func(v T) bool { return !strings.HasPrefix(k.name(v), arg) })
		}
		if len(found) == 0 {
			missing = append(missing, arg)
		}
		out = append(out, found...)
	}
	if len(missing) > 0 {
		return out, fmt.Errorf("there is none of these %s here: %s", either(k.noun, k.use), strings.Join(missing, ", "))
	}
	return out, nil
}

// printer prints lists; of a list that is watched, what differs from the last.
type printer[T any] struct {
	kind[T]
	listFlags
	to   io.Writer
	now  func() time.Time
	seen map[string]string // name → as it was printed
	head bool              // was printed
}

func (p *printer[T]) print(list []T) error {
	if list == nil {
		list = []T{}
	}
	first := p.seen == nil
	if p.watch && !p.structured() {
		list = p.news(list)
	}
	p.seen = orMake(p.seen)
	switch {
	case p.structured():
		return p.document(list, first)
	case p.format == asName:
		for _, v := range list {
			fmt.Fprintln(p.to, printable(p.name(v)))
		}
		return nil
	case len(list) == 0:
		return nil
	}
	now := p.now()
	var header []string
	var rows [][]string
	for _, c := range p.shown() {
		header = append(header, c.head)
	}
	for _, v := range list {
		var row []string
		for _, c := range p.shown() {
			row = append(row, c.cell(v, now))
		}
		rows = append(rows, row)
	}
	if p.noHeaders || p.head && p.watch {
		header = nil
	}
	p.head = true
	return table(p.to, header, rows)
}

func orMake(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func (p *printer[T]) shown() []column[T] {
	return slices.DeleteFunc(slices.Clone(p.columns), func(c column[T]) bool { return c.wide && p.format != asWide })
}

// news keeps what was not printed before as it is now, and remembers it. Ages are
// no news.
func (p *printer[T]) news(list []T) []T {
	p.seen = orMake(p.seen)
	var out []T
	for _, v := range list {
		text, err := json.Marshal(v)
		if err == nil && p.seen[p.name(v)] == string(text) {
			continue
		}
		p.seen[p.name(v)] = string(text)
		out = append(out, v)
	}
	return out
}

// document prints the list for programs: once as a document, watched as one line
// of JSON, or one YAML document, for each change.
func (p *printer[T]) document(list []T, first bool) error {
	var v any = list
	if p.single && len(list) == 1 {
		v = list[0]
	}
	switch {
	case p.watch && p.format == asJSON:
		return json.NewEncoder(p.to).Encode(v)
	case p.watch && !first:
		fmt.Fprintln(p.to, "---")
	}
	if p.yaml == nil || p.format != asYAML || len(list) != 1 {
		return p.output.write(p.to, v)
	}
	text, err := p.yaml(list[0])
	if err == nil {
		_, err = p.to.Write(text)
	}
	return err
}
