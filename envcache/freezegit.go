package envcache

import (
	"bufio"
	"os"
	"path"
	"regexp"
	"strings"

	"agentctl/envcache/internal/secret"
)

// cloned is the line for an editable package of a repository, which pip clones to
// src/NAME in the environment: what is recorded of it is that folder, which no
// other host has. "" if there is no clone at that path, or none that can be told.
func cloned(root *os.Root, name, below string) string {
	below, _, _ = strings.Cut(below, "#")
	parts := strings.Split(below, "/")
	top := path.Join("src", parts[0])
	commit := headOf(root, path.Join(top, ".git"))
	origin := originOf(string(readSome(root, path.Join(top, ".git", "config"))))
	if commit == "" || origin == "" {
		return ""
	}
	line := "-e git+" + origin + "@" + commit + "#egg=" + name
	if sub := path.Join(parts[1:]...); sub != "" {
		line += "&subdirectory=" + sub
	}
	if strings.ContainsAny(line[3:], " \t\n\r'\"") {
		return ""
	}
	return line
}

var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// headOf is the commit that is checked out.
func headOf(root *os.Root, git string) string {
	head := strings.TrimSpace(string(readSome(root, path.Join(git, "HEAD"))))
	if ref, ok := strings.CutPrefix(head, "ref: "); ok {
		head = strings.TrimSpace(string(readSome(root, path.Join(git, ref))))
		if head == "" {
			head = packed(string(readSome(root, path.Join(git, "packed-refs"))), ref)
		}
	}
	if !commitID.MatchString(head) {
		return ""
	}
	return head
}

// packed finds a branch in git's file of many.
func packed(text, ref string) string {
	for line := range strings.Lines(text) {
		if id, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			return id
		}
	}
	return ""
}

// originOf reads the address of a clone's origin, without credentials.
func originOf(config string) string {
	inside := false
	for s := bufio.NewScanner(strings.NewReader(config)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if strings.HasPrefix(line, "[") {
			inside = line == `[remote "origin"]`
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && inside && strings.TrimSpace(key) == "url" {
			link, _ := secret.SplitURL(strings.TrimSpace(value))
			if !strings.Contains(link, "://") { // user@host:path is no URL, which pip wants
				return ""
			}
			return link
		}
	}
	return ""
}
