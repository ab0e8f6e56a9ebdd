package source

import "strings"

// Blame finds the newest revision that changed a field, or the group that the field
// is of; nil if none that is kept did. history is newest first. A record that does not
// have all its changes may be the one, and is taken for it.
func Blame(path string, history []Revision) *Revision {
	for i, r := range history {
		for _, c := range r.Changes {
			if within(path, c.Path) || within(c.Path, path) {
				return &history[i]
			}
		}
		if r.Partial {
			return &history[i]
		}
	}
	return nil
}

// within tells that a path is another one, or lies below it.
func within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
