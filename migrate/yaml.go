package migrate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"agentctl/spec"

	"github.com/samber/lo"
)

// width is that of comments.
const width = 110

// YAML is the node.yaml of a result, with a comment where each value comes from, and at
// its end what was not carried over. from names where the configuration was read.
func (r Result) YAML(from string) ([]byte, error) {
	body, err := spec.Encode(r.Node)
	if err != nil {
		return nil, err
	}
	places, problems := spec.Origins("", body, spec.Host{Name: r.Node.Metadata.Name})
	if problems.Err() != nil {
		return nil, problems.Err()
	}
	comments := r.comments(places)
	var b bytes.Buffer
	b.WriteString("# yaml-language-server: $schema=node.schema.json\n#\n")
	comment(&b, "# ", "Made by `agentctl import` of "+line(from)+". Each comment names the keys that the line below comes from; what was not carried over is at the end.")
	for i, text := range strings.SplitAfter(string(body), "\n") {
		for _, c := range comments[i+1] {
			comment(&b, strings.Repeat(" ", len(text)-len(strings.TrimLeft(text, " ")))+"# ", c)
		}
		b.WriteString(text)
	}
	r.rest(&b)
	if _, problems := spec.Decode("", b.Bytes()); problems.Err() != nil {
		return nil, problems.Err()
	}
	return b.Bytes(), nil
}

// comments are those of each line.
func (r Result) comments(places map[string]spec.Origin) map[int][]string {
	names := map[int][]string{}
	at := func(target, name string) {
		path := strings.Replace(target, "spec.workers[]", "spec.workers["+r.Node.Spec.Workers[0].Name+"]", 1)
		if o, ok := places[path]; ok && !slices.Contains(names[o.Line], name) {
			names[o.Line] = append(names[o.Line], name)
		}
	}
	for _, n := range r.Notes {
		if n.Verdict == Mapped {
			for _, target := range targets(n.Target) {
				at(target, n.Name)
			}
		}
	}
	out := map[int][]string{}
	for l, list := range names {
		out[l] = []string{strings.Join(list, ", ")}
	}
	add := func(path, text string) {
		if o, ok := places[path]; ok {
			out[o.Line] = append(out[o.Line], text)
		}
	}
	group := "spec.workers[" + r.Node.Spec.Workers[0].Name + "]"
	add("spec.packageManager.python.onMissing", "as clearml-agent does; fail is stricter")
	add(group+".queues", "--queue")
	if r.Node.Spec.Workers[0].Mode == spec.ModeSandbox {
		add(group+".mode", "--docker")
		if r.Node.Spec.Sandbox.DefaultImage == "" {
			add(group+".mode", "no image is named: tasks that name none run in the host's file system, not in clearml-agent's nvidia/cuda; see spec.sandbox.defaultImage")
		}
	}
	if r.Node.Spec.Workers[0].GPUs.Mode == spec.GPUsAll {
		add(group+".gpus", "as clearml-agent without --gpus: each task sees all")
	}
	return out
}

// rest lists what has no line, those with one reason together.
func (r Result) rest(b *bytes.Buffer) {
	for _, part := range []struct {
		verdict Verdict
		title   string
	}{
		{Refused, "Not carried over:"}, {Unknown, "Not known:"}, {NoOp, "Without an effect here:"},
	} {
		notes := lo.Filter(r.Notes, func(n Note, _ int) bool { return n.Verdict == part.verdict })
		if len(notes) == 0 {
			continue
		}
		b.WriteString("\n# " + part.title + "\n")
		var texts []string
		names := map[string][]string{}
		for _, n := range notes {
			if names[n.Text] == nil {
				texts = append(texts, n.Text)
			}
			names[n.Text] = append(names[n.Text], n.Name)
		}
		for _, text := range texts {
			comment(b, "#   ", strings.Join(names[text], ", ")+": "+text)
		}
	}
	told := lo.Filter(r.Notes, func(n Note, _ int) bool { return n.Verdict == Mapped && n.said != "" })
	if len(told) > 0 {
		b.WriteString("\n# To know of what was carried over:\n")
		for _, n := range told {
			comment(b, "#   ", n.Name+": "+n.said)
		}
	}
}

// comment writes a text in lines, of which none can be anything else. All but the
// first of a list's are indented.
func comment(b *bytes.Buffer, prefix, text string) {
	next := prefix
	if strings.HasSuffix(prefix, "   ") {
		next += "  "
	}
	column := 0
	for _, word := range strings.Fields(line(text)) {
		switch {
		case column == 0:
			b.WriteString(prefix + word)
			column = len(prefix)
		case column+1+len(word) > width:
			b.WriteString("\n" + next + word)
			column = len(next)
		default:
			b.WriteString(" " + word)
			column++
		}
		column += len(word)
	}
	b.WriteString("\n")
}

// line is a text on one line that a YAML file can hold.
func line(s string) string {
	s = strings.ToValidUTF8(s, "?")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffd || r >= 0xfff0 && r <= 0xffff || r >= 0xd800 && r < 0xe000 {
			return ' '
		}
		return r
	}, s)
}

// String renders a note for a person.
func (n Note) String() string {
	s := fmt.Sprintf("%s: %s", n.Name, n.Verdict)
	if n.Target != "" {
		s += " as " + n.Target
	}
	if n.Text != "" {
		s += ": " + n.Text
	}
	return line(s)
}
