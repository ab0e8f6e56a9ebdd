package secret

import (
	"fmt"
	"slices"
	"strings"
)

// Machine is one entry of a netrc file; an empty Host is the default entry.
type Machine struct {
	Host string
	Login
}

// ParseNetrc reads a netrc file: machine, default, login, password, account,
// macdef and comments, values bare or in double quotes.
func ParseNetrc(data string) ([]Machine, error) {
	var all []Machine
	words := netrcWords(data)
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == "default" {
			all = append(all, Machine{})
			continue
		}
		if i+1 >= len(words) {
			return nil, fmt.Errorf("%q at the end of the netrc file has no value", RedactURLs(word))
		}
		i++
		switch value := words[i]; {
		case word == "machine":
			all = append(all, Machine{Host: strings.ToLower(value)})
		case len(all) == 0:
			return nil, fmt.Errorf("the netrc file starts with %q, not with machine or default", word)
		case word == "login" || word == "user":
			all[len(all)-1].User = value
		case word == "password":
			all[len(all)-1].Password = value
		case word == "account":
		default:
			// The word may itself be a secret that stands in the wrong place.
			return nil, fmt.Errorf("entry %d of the netrc file holds a word that is none of login, password, account", len(all))
		}
	}
	return all, nil
}

// netrcWords splits a netrc file, leaving out comments and macros (a macro ends
// at an empty line).
func netrcWords(data string) []string {
	var words []string
	macro := false
	for line := range strings.Lines(data) {
		rest := strings.TrimSpace(line)
		if macro {
			macro = rest != ""
			continue
		}
		for rest != "" && !strings.HasPrefix(rest, "#") {
			var word string
			word, rest = netrcWord(rest)
			if word == "macdef" {
				macro, rest = true, ""
				continue
			}
			words = append(words, word)
		}
	}
	return words
}

func netrcWord(s string) (word, rest string) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexAny(s, " \t"); i >= 0 {
			return s[:i], strings.TrimSpace(s[i:])
		}
		return s, ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), strings.TrimSpace(s[i+1:])
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// Lookup finds the login for host; the default entry, if any, is for all.
func Lookup(all []Machine, host string) (Login, bool) {
	for _, m := range all {
		if m.Host == "" || m.Host == strings.ToLower(host) {
			return m.Login, true
		}
	}
	return Login{}, false
}

// Netrc writes entries as a netrc file. Of own, values that a netrc file can't
// hold in a way that all readers understand are refused; those of read stood in
// one already, and are written as they were there.
func Netrc(own, read []Machine) (string, error) {
	var b strings.Builder
	for _, m := range own {
		if hard(m.Host) || hard(m.User) || hard(m.Password) {
			return "", fmt.Errorf("the credentials for %s hold a blank, a quote, a backslash or a leading #, which a netrc file can't say safely", m.Host)
		}
		if m.Host == "" || m.User == "" || m.Password == "" {
			return "", fmt.Errorf("the credentials for %q lack a user or a password", m.Host)
		}
	}
	for _, m := range slices.Concat(own, read) {
		if m.Host == "" {
			b.WriteString("default")
		} else {
			b.WriteString("machine " + quote(m.Host))
		}
		for _, kv := range [][2]string{{"login", m.User}, {"password", m.Password}} {
			if kv[1] != "" {
				b.WriteString(" " + kv[0] + " " + quote(kv[1]))
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// hard tells whether not all programs read a value in the same way.
func hard(v string) bool {
	return strings.ContainsAny(v, " \t\r\n\x00\"\\") || strings.HasPrefix(v, "#")
}

var quoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func quote(v string) string {
	if !hard(v) {
		return v
	}
	return `"` + quoting.Replace(v) + `"`
}
