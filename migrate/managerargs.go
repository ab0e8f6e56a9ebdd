package migrate

import (
	"slices"
	"strings"

	"agentctl/spec"
)

// pipFlags reads the flags of pip that have fields of their own.
func pipFlags(t *translation, v any) error {
	words, err := wordsOf(v)
	if err != nil {
		return err
	}
	taken := false
	for i := 0; i < len(words); i++ {
		name, value, has := strings.Cut(words[i], "=")
		index, list := indexFlags[name] != "", name == "--only-binary" || name == "--no-binary"
		if (index || list) && !has {
			if i++; i == len(words) {
				return refuse("%s has no value", name)
			}
			value = words[i]
		}
		switch {
		case slices.Contains(needlessFlags, words[i]):
			t.say(words[i] + " is not needed here")
		case index:
			plain, err := t.withoutLogin(value)
			if err != nil {
				return err
			}
			taken = true
			if indexFlags[name] == "indexUrl" {
				t.tree.set("spec.packageManager.indexUrl", plain)
			} else {
				t.tree.add("spec.packageManager.extraIndexUrls", plain)
			}
		case list:
			taken = t.flag(name+"="+value) || taken
		default:
			taken = t.flag(words[i]) || taken
		}
	}
	return t.flagsTaken(taken, len(words))
}

// flagsTaken tells of flags of which none is carried over what was said of each.
func (t *translation) flagsTaken(any bool, all int) error {
	text := t.said
	if any {
		return nil
	}
	t.said = ""
	if strings.Count(text, " is not needed here") == all {
		return nothing("%s", text)
	}
	return refuse("%s", text)
}

// indexFlags are the fields of those flags that name an index.
var indexFlags = map[string]string{"-i": "indexUrl", "--index-url": "indexUrl", "--extra-index-url": "extraIndexUrls"}

// needlessFlags change nothing here: environments are new and nobody's but the task's,
// downloads are kept, and pip is asked no questions.
var needlessFlags = []string{
	"-U", "--upgrade", "--force-reinstall", "-I", "--ignore-installed", "--user", "--break-system-packages", "--no-cache-dir",
	"--no-input", "--disable-pip-version-check", "--no-warn-script-location", "--no-color", "-q", "--quiet", "-v", "--verbose",
}

// flag takes over a flag of pip, or tells what takes its place.
func (t *translation) flag(flag string) bool {
	before := clone(map[string]any(t.tree)).(map[string]any)
	t.tree.add("spec.packageManager.installFlags", flag)
	err := t.valid(t.tree)
	if err == nil {
		return true
	}
	t.tree = before
	t.say(err.Error())
	return false
}

// projectArgs reads the arguments that choose what of a project is installed.
func projectArgs(group, extra string) apply {
	return func(t *translation, v any) error {
		words, err := wordsOf(v)
		if err != nil {
			return err
		}
		for i := 0; i < len(words); i++ {
			name, value, has := strings.Cut(words[i], "=")
			field := map[string]string{"--" + group: "groups", "--" + extra: "extras", "-E": "extras", "--all-groups": "groups", "--all-extras": "extras"}[name]
			switch {
			case field == "":
				return refuse("%.40q has no field: it is not carried over", name)
			case strings.HasPrefix(name, "--all-"):
				value = spec.All
			case !has:
				if i++; i == len(words) {
					return refuse("%s has no value", name)
				}
				value = words[i]
			}
			t.tree.add("spec.packageManager."+field, strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })...)
		}
		return nil
	}
}
