package repo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/envcache"
)

// object writes an object, from what git would not make by itself.
func (u *upstream) object(input string, args ...string) string {
	u.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", u.dir}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		u.t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// Trees that no git makes, whose files would lie in the checkout's own .git, on this
// file system or on others, or outside of it.
func TestHostileTrees(t *testing.T) {
	canary := filepath.Join(newState(t), "canary")
	for name, entries := range map[string]string{
		".git":                     "040000 tree TREE\t.git\n",
		".git in capitals":         "040000 tree TREE\t.GIT\n",
		"short name of .git":       "040000 tree TREE\tgit~1\n",
		".git with an ignorable":   "040000 tree TREE\t.g\u200cit\n",
		".git with a dot":          "040000 tree TREE\t.git.\n",
		".git as a stream":         "040000 tree TREE\t.git::$INDEX_ALLOCATION\n",
		"parent":                   "040000 tree TREE\t..\n",
		"itself":                   "040000 tree TREE\t.\n",
		"link, then a folder":      "120000 blob LINK\ts\n040000 tree TREE\ts\n",
		".gitmodules as a link":    "120000 blob LINK\t.gitmodules\n",
		"link to .git and its own": "120000 blob LINK\tgit~1\n",
	} {
		t.Run(name, func(t *testing.T) {
			root := newState(t)
			u := newUpstream(t, map[string]string{"a.py": "one\n"})
			hook := u.object("#!/bin/sh\ntouch "+canary+"\n", "hash-object", "-w", "--stdin")
			config := u.object("[core]\n\tfsmonitor = touch "+canary+"\n\thooksPath = hooks\n", "hash-object", "-w", "--stdin")
			hooks := u.object("100755 blob "+hook+"\tpost-checkout\n", "mktree")
			tree := u.object("100644 blob "+config+"\tconfig\n040000 tree "+hooks+"\thooks\n", "mktree")
			link := u.object(".git", "hash-object", "-w", "--stdin")
			top := u.object(strings.NewReplacer("TREE", tree, "LINK", link).Replace(entries), "mktree")
			u.git("update-ref", "refs/heads/main", u.git("commit-tree", "-m", "evil", top))
			u.serve(root, "evil")
			s := newStore(t, Options{})
			c, err := s.Acquire(t.Context(), Source{URL: newGitServer(t, root, "", "").URL + "/evil.git", UID: envcache.SameUser}, nil)
			if err == nil {
				_ = c.Close()
				t.Error("it was taken")
			}
			if _, err := os.Stat(canary); err == nil {
				t.Fatal("the repository ran a program")
			}
		})
	}
}
