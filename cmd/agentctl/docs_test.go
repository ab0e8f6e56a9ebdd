package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// reference is docs/cli.md: it is made of the help, so that it can't differ.
var reference = filepath.Join("..", "..", "docs", "cli.md")

func tree4docs() *cobra.Command {
	m := &Main{Getenv: func(string) string { return "" }}
	root := m.root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd("agentctl")
	return root
}

// verbs lists every verb that does something, in the order of the help.
func verbs(cmd *cobra.Command) (out []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.Hidden || sub.Name() == "help" || sub.IsAdditionalHelpTopicCommand() {
			continue
		}
		out = append(append(out, sub), verbs(sub)...)
	}
	return out
}

func TestReferenceIsCurrent(t *testing.T) {
	want := renderDocs(tree4docs())
	if *update {
		if err := os.WriteFile(reference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/cli.md is not what the help says; run just golden (-want +got):\n%s", diff)
	}
}

func TestEveryVerbHasHelpWithAnExample(t *testing.T) {
	for _, v := range verbs(tree4docs()) {
		if v.Parent().Name() == "completion" || v.Name() == "completion" {
			continue // cobra's own
		}
		if v.Short == "" || v.Example == "" {
			t.Errorf("%s has no help, or no example in it", v.CommandPath())
		}
		for l := range strings.Lines(v.Long + "\n" + v.Example) {
			if len([]rune(l)) > 100 {
				t.Errorf("%s: a line of its help is too long for a terminal: %s", v.CommandPath(), l)
			}
		}
		v.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: the flag --%s has no help", v.CommandPath(), f.Name)
			}
		})
	}
}

const docsHead = `# The command line

<!-- Made of the program's help: change that, then run ` + "`./justw golden`" + `. -->

Habits of kubectl and systemctl: data goes to the standard output, talk to the standard error.

`

func renderDocs(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(docsHead)
	all := verbs(root)
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "%s\n\n", g.Title)
		for _, v := range root.Commands() {
			if v.GroupID == g.ID {
				fmt.Fprintf(&b, "- [agentctl %s](#%s): %s\n", v.Name(), anchor(v), v.Short)
			}
		}
		b.WriteString("\n")
	}
	for _, topic := range topics() {
		fmt.Fprintf(&b, "## %s\n\n", topic.Short)
		b.WriteString(fenced(topic.Long))
	}
	b.WriteString("## Flags of every verb\n\n" + fenced(root.PersistentFlags().FlagUsages()))
	for _, v := range all {
		renderVerb(&b, v)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func renderVerb(b *strings.Builder, v *cobra.Command) {
	if v.HasParent() && v.Parent().Name() == "completion" {
		return
	}
	fmt.Fprintf(b, "## %s\n\n%s.\n\n", v.CommandPath(), v.Short)
	if v.Name() == "completion" {
		b.WriteString(fenced("agentctl completion bash|zsh|fish|powershell"))
		return
	}
	b.WriteString(fenced(v.UseLine()))
	if v.Long != "" {
		b.WriteString(strings.ReplaceAll(v.Long, "*", `\*`) + "\n\n")
	}
	if aliases := slices.Clone(v.Aliases); len(aliases) > 0 {
		fmt.Fprintf(b, "Also called %s.\n\n", strings.Join(aliases, ", "))
	}
	if flags := v.LocalFlags().FlagUsages(); flags != "" {
		b.WriteString(fenced(flags))
	}
	if v.Example != "" {
		b.WriteString("Examples:\n\n" + fenced(undent(v.Example)))
	}
}

func anchor(v *cobra.Command) string { return strings.ReplaceAll(v.CommandPath(), " ", "-") }

func fenced(text string) string { return "```\n" + strings.TrimRight(text, "\n") + "\n```\n\n" }

func undent(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "  "), "\n  ", "\n")
}
