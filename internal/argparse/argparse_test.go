package argparse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var options = []Option{
	{Names: []string{"--queue"}, Takes: Some},
	{Names: []string{"--docker"}, Takes: Any},
	{Names: []string{"--stop"}, Takes: Any},
	{Names: []string{"--status"}},
	{Names: []string{"--services-mode"}, Takes: Maybe},
	{Names: []string{"--gpus"}, Takes: One},
	{Names: []string{"-O"}, Takes: Count},
	{Names: []string{"--detached", "-d"}},
	{Names: []string{"--git-pass"}, Takes: One},
	{Names: []string{"--state"}, Takes: One, Late: true},
	{Names: []string{"--detail"}, Late: true},
}

// What argparse of Python 3.11 made of each, with these options.
func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"--queue a b c":             "--queue[a b c]",
		"--queue a --queue b c":     "--queue[b c]x2",
		"--queue=a":                 "--queue[a]",
		"--queue=a b":               "!a word belongs to no flag",
		"--queue":                   "!--queue needs a value",
		"--queue --docker":          "!--queue needs a value",
		"--docker --queue a":        "--docker[] --queue[a]",
		"--docker|img -v a:b":       "--docker[img -v a:b]",
		"--docker img -v a:b":       "!there is no flag -v",
		"--docker=|-e X":            "!a word belongs to no flag",
		"--docker| -e X":            "--docker[ -e X]",
		"--docker|-e X":             "--docker[-e X]",
		"--docker|-e=X Y":           "--docker[-e=X Y]",
		"--queue=my queue|--status": "--queue[my queue] --status[]",
		"--services-mode --gpus 0":  "--services-mode[] --gpus[0]",
		"--services-mode -1":        "--services-mode[-1]",
		"--services-mode 5 6":       "!a word belongs to no flag",
		"--serv 5":                  "--services-mode[5]",
		"--st":                      "!--st could be --stop or --status",
		"--sta":                     "--status[]",
		"--state x":                 "--state[x]",
		"--det":                     "--detached[]",
		"--detai":                   "--detail[]",
		"-d -OO":                    "--detached[] -O[]x2",
		"-OdO":                      "-O[]x2 --detached[]",
		"-Ox":                       "!there is no flag -Ox",
		"--status=yes":              "!--status takes no value",
		"--gpus":                    "!--gpus needs a value",
		"--gpus -0.5":               "--gpus[-0.5]",
		"--gpus= --status":          "--gpus[] --status[]",
		"--git-pass secret words":   "!a word belongs to no flag",
		"--git-pas=secret=x":        "--git-pass[secret=x]",
		"--git-password=secret":     "!there is no flag --git-password",
		"x y":                       "!2 words belong to no flag",
		"--gpus 0 -- x":             "!a word belongs to no flag",
		"--stop box:0 box:gpu0":     "--stop[box:0 box:gpu0]",
		"--stop -":                  "--stop[-]",
		"":                          "",
	} {
		sep := " "
		if strings.Contains(line, "|") {
			sep = "|"
		}
		var args []string
		if line != "" {
			args = strings.Split(line, sep)
		}
		got, err := Parse(options, args)
		if text := shown(got, err); text != want {
			t.Errorf("%q: %q, want %q", line, text, want)
		}
	}
}

func shown(given []Given, err error) string {
	if err != nil {
		return "!" + err.Error()
	}
	var out []string
	for _, g := range given {
		text := g.Name + "[" + strings.Join(g.Values, " ") + "]"
		if g.Times > 1 {
			text += fmt.Sprintf("x%d", g.Times)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestExpand(t *testing.T) {
	files := map[string]string{"a": "--queue\nmy queue\n@b", "b": "other\r\n", "loop": "@loop", "empty": ""}
	read := func(path string) (string, error) {
		text, ok := files[path]
		if !ok {
			return "", errors.New("not there")
		}
		return text, nil
	}
	got, err := Expand([]string{"daemon", "@a", "@empty", "x@y"}, read)
	if diff := cmp.Diff([]string{"daemon", "--queue", "my queue", "other", "x@y"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	files["long"] = strings.Repeat("x\n", maxWords+1)
	for _, bad := range []string{"@loop", "@missing", "@long"} {
		if got, err := Expand([]string{bad}, read); err == nil {
			t.Errorf("%s: %d words", bad, len(got))
		}
	}
}

// FuzzParse: whatever is typed, each word is taken by one flag or refused, and no
// message repeats what is no flag's name.
func FuzzParse(f *testing.F) {
	f.Add("--queue a b --docker|img -v a:b|-OO --services-mode=-1")
	f.Add("--git-pass s3cret s3cret --st -- x =")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.FieldsFunc(line, func(r rune) bool { return r == '|' || r == ' ' })
		given, err := Parse(options, args)
		taken := 0
		for _, g := range given {
			taken += len(g.Values)
			if g.Times < 1 || g.Name == "" {
				t.Errorf("%+v", g)
			}
		}
		if taken > len(args) {
			t.Errorf("%d words of %d", taken, len(args))
		}
		if err != nil {
			for _, word := range args {
				named := slices.ContainsFunc(args, func(o string) bool { return strings.HasPrefix(o, "-") && strings.Contains(o, word) })
				if !named && len(word) > 12 && strings.Contains(err.Error(), word) {
					t.Errorf("%q repeats %q", err, word)
				}
			}
		}
	})
}
