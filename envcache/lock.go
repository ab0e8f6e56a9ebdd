package envcache

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// Lock is what a request was resolved to: every package at one version, known
// by its digest. Installing a lock needs no resolving, and gives the very same
// files on every host of one kind. It holds no secrets and no way to leave the
// index: it can be shown, stored with a task, and given back in a Request.
type Lock struct {
	// Manager that can install it.
	Manager string `json:"manager"`
	// Python is the version of the interpreter that it was made for.
	Python string `json:"python"`
	// Packages of an index or a repository: lines in the syntax of pip's
	// requirements files, as "six==1.16.0 --hash=sha256:…", sorted.
	Packages []string `json:"packages,omitempty"`
	// Indexes are options of pip that the task's own list named indexes with.
	Indexes []string `json:"indexes,omitempty"`
	// Conda packages: URLs without credentials, each with "#sha256:…" or "#MD5", in
	// the order of installation.
	Conda []string `json:"conda,omitempty"`
	// File of the repository that is the lock, and its digest in hex: what it says is
	// not repeated here.
	File   string `json:"file,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// Source is the file of the repository that the packages were resolved from, and its
	// digest, as FILE@HEX: whoever changes the file no longer asks for this lock.
	Source string `json:"source,omitempty"`
	// Groups and Extras of the project whose file that is: what of it was installed.
	Groups []string `json:"groups,omitempty"`
	Extras []string `json:"extras,omitempty"`
	// For is the digest of the requirements that a task shows beside the lock. Whoever
	// edits those no longer asks for this lock.
	For string `json:"for,omitempty"`
	// Built tells that some packages were built from source: whoever wrote them
	// could run code during the build, so the lock alone vouches for no files.
	Built bool `json:"built,omitempty"`
}

// DigestOf is the value of Lock.For for requirement lines; blank lines and the
// blanks around a line don't count.
func DigestOf(lines []string) string {
	var clean []string
	for _, l := range lines {
		for part := range strings.Lines(l) {
			if part = strings.TrimSpace(part); part != "" {
				clean = append(clean, part)
			}
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(clean, "\n")))
	return hex.EncodeToString(sum[:])
}

// lines are what a key is made of. Where packages are built from source, what
// builds them comes from the indexes.
func (l Lock) lines() []string {
	lines := slices.Concat(l.Conda, l.Packages, lo.Compact([]string{l.SHA256}))
	if l.Built {
		lines = slices.Concat(lines, []string{"built"}, l.Indexes)
	}
	return lines
}

// pins are the packages of the lock as a list without digests, as an agent
// writes it back to a task and a clone asks for it; nil if that can't be told.
func (l Lock) pins() []string {
	var pins []string
	for _, p := range l.Packages {
		pin, _, _ := strings.Cut(p, " ")
		if _, ok := plainPin(pin); !ok {
			return nil
		}
		pins = append(pins, pin)
	}
	slices.Sort(pins)
	return pins
}
