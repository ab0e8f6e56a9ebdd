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
	var rest []string
	for i := 0; i < len(words); i++ {
		name, value, has := strings.Cut(words[i], "=")
		if !slices.Contains([]string{"-i", "--index-url", "--extra-index-url"}, name) {
			rest = append(rest, words[i])
			continue
		}
		if !has {
			if i++; i == len(words) {
				return refuse("%s has no value", name)
			}
			value = words[i]
		}
		plain, err := t.withoutLogin(value)
		switch {
		case err != nil:
			return err
		case name == "--extra-index-url":
			t.tree.add("spec.packageManager.extraIndexUrls", plain)
		default:
			t.tree.set("spec.packageManager.indexUrl", plain)
		}
	}
	switch {
	case len(rest) > 0 && isField("spec.packageManager.installFlags"):
		t.tree.add("spec.packageManager.installFlags", rest...)
	case len(rest) > 0 && len(rest) == len(words):
		return refuse("its flags have no field: write them into pip.conf of the agent's user, which is read")
	case len(rest) > 0:
		t.say("the other flags have no field: write them into pip.conf of the agent's user, which is read")
	}
	return nil
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
