package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHuman(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": -time.Second, "1s": 1900 * time.Millisecond, "119s": 119 * time.Second, "2m": 2 * time.Minute,
		"9m59s": 599 * time.Second, "10m": 10*time.Minute + 30*time.Second, "179m": 179 * time.Minute, "3h": 3 * time.Hour,
		"7h59m": 479 * time.Minute, "8h": 8*time.Hour + 30*time.Minute, "47h": 47 * time.Hour, "2d": 48 * time.Hour,
		"7d23h": 191 * time.Hour, "8d": 200 * time.Hour, "2y": 365 * 48 * time.Hour, "2y3d": (365*2 + 3) * 24 * time.Hour,
	} {
		if got := human(d); got != want {
			t.Errorf("human(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"": 0, "120µs": 123456 * time.Nanosecond, "8.2ms": 8234 * time.Microsecond, "120ms": 123 * time.Millisecond,
		"1.36s": 1361 * time.Millisecond, "12.3s": 12345 * time.Millisecond, "2m": 2 * time.Minute,
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %q, want %q", d, got, want)
		}
	}
}

// A task's name must not repaint the terminal, nor pass for another row.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü 漢": "plain ü 漢", "a\x1b[2Jb": "a?[2Jb", "a\nb\tc": "a?b?c", "x\u202ey": "x?y", "\u200b": "?", "\xff": "\ufffd",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

// thing is what the tests list.
type thing struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
}

var things = kind[thing]{
	use: "things", short: "things", name: func(v thing) string { return v.Name }, prefix: true,
	columns: []column[thing]{
		{head: "NAME", cell: func(v thing, _ time.Time) string { return v.Name }},
		{head: "VALUE", wide: true, cell: func(v thing, _ time.Time) string { return strings.Repeat("*", v.Value) }},
	},
}

// printed runs lists through a printer and gives all that it printed.
func printed(t *testing.T, f listFlags, single bool, lists ...[]thing) string {
	t.Helper()
	var out bytes.Buffer
	p := printer[thing]{kind: things, listFlags: f, to: &out, now: time.Now}
	p.single = single
	for _, list := range lists {
		if err := p.print(list); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestListFormats(t *testing.T) {
	list := []thing{{"ab", 1}, {"b", 0}}
	flags := func(format string) listFlags { return listFlags{output: &output{format: format}} }
	quiet := flags("")
	quiet.noHeaders = true
	for _, row := range []struct {
		about  string
		flags  listFlags
		single bool
		list   []thing
		want   string
	}{
		{"table", flags(""), false, list, "NAME\nab\nb\n"},
		{"wide", flags(asWide), false, list, "NAME   VALUE\nab     *\nb      -\n"},
		{"no headers", quiet, false, list, "ab\nb\n"},
		{"names", flags(asName), false, list, "ab\nb\n"},
		{"json", flags(asJSON), false, list[:1], "[\n  {\n    \"name\": \"ab\",\n    \"value\": 1\n  }\n]\n"},
		{"one named thing is no list", flags(asJSON), true, list[:1], "{\n  \"name\": \"ab\",\n  \"value\": 1\n}\n"},
		{"yaml", flags(asYAML), false, list[:1], "- name: ab\n  value: 1\n"},
		{"nothing for programs", flags(asJSON), false, nil, "[]\n"},
		{"nothing for people", flags(""), false, nil, ""},
	} {
		if diff := cmp.Diff(row.want, printed(t, row.flags, row.single, row.list)); diff != "" {
			t.Errorf("%s:\n%s", row.about, diff)
		}
	}
}

func TestWatchPrintsWhatIsNew(t *testing.T) {
	watch := func(format string) listFlags { return listFlags{output: &output{format: format}, watch: true} }
	lists := [][]thing{{{"a", 1}}, {{"a", 1}}, {{"a", 2}, {"b", 1}}}
	for format, want := range map[string]string{
		"":     "NAME\na\na\nb\n",
		asName: "a\na\nb\n",
		asJSON: `[{"name":"a","value":1}]` + "\n" + `[{"name":"a","value":1}]` + "\n" + `[{"name":"a","value":2},{"name":"b","value":1}]` + "\n",
		asYAML: "- name: a\n  value: 1\n---\n- name: a\n  value: 1\n---\n- name: a\n  value: 2\n- name: b\n  value: 1\n",
	} {
		if diff := cmp.Diff(want, printed(t, watch(format), false, lists...)); diff != "" {
			t.Errorf("%q:\n%s", format, diff)
		}
	}
	if diff := cmp.Diff("NAME\na\na\nb\n", printed(t, watch(""), false, append([][]thing{nil}, lists...)...)); diff != "" {
		t.Errorf("with nothing at first:\n%s", diff)
	}
}

func TestChoose(t *testing.T) {
	list := []thing{{"ab", 1}, {"abc", 2}, {"x", 3}}
	for _, row := range []struct {
		args    []string
		want    []thing
		missing string
	}{
		{nil, list, ""},
		{[]string{"ab"}, list[:1], ""}, // the very name before the beginning of one
		{[]string{"abc", "x"}, list[1:], ""},
		{[]string{"a"}, list[:2], ""},
		{[]string{"x", "y", ""}, list[2:], "things here: y, "},
	} {
		got, err := things.choose(list, row.args)
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%v:\n%s", row.args, diff)
		}
		if (err != nil) != (row.missing != "") || err != nil && !strings.Contains(err.Error(), row.missing) {
			t.Errorf("%v: %v", row.args, err)
		}
	}
}

func TestPollEndsWithItsReader(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	err := poll(ctx, true, func() error { looks++; cancel(); return nil })
	if looks != 1 || err == nil {
		t.Errorf("%d looks, %v", looks, err)
	}
	if err := poll(t.Context(), false, func() error { looks++; return nil }); err != nil || looks != 2 {
		t.Errorf("%d looks, %v", looks, err)
	}
}
