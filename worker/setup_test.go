package worker

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestSetupScripts: they are real scripts, run one after the other in the shell that
// becomes the program, and the first command that fails ends all.
func TestSetupScripts(t *testing.T) {
	t.Parallel()
	program := []string{"/bin/sh", "-c", `echo "$A $B $# $1"; false; echo end`, "sh", "a 'b' \"c\"\n$d"}
	const end = "1 a 'b' \"c\"\n$d\nend\n"
	for _, shell := range []string{"/bin/sh", "/bin/bash"} {
		for name, c := range map[string]struct {
			scripts []string
			want    string
			fails   bool
		}{
			"exports":     {scripts: []string{"export A=1\n", "export B=2\n"}, want: "1 2 " + end},
			"constructs":  {scripts: []string{"# a comment; do\nif true; then\n  A=$(cat <<E\n1; 2\nE\n)\nfi\nexport A\n"}, want: "1; 2  " + end},
			"positional":  {scripts: []string{"set -- x y z\nshift\n"}, want: "  " + end},
			"fails":       {scripts: []string{"false\n", "echo never\n"}, fails: true},
			"fails later": {scripts: []string{"set +e\nfalse\n", "false\necho never\n"}, fails: true},
			"open quote":  {scripts: []string{"echo 'x\n", "echo never\n"}, fails: true},
			"ends early":  {scripts: []string{"exit 0\n"}, want: ""},
		} {
			dir := t.TempDir()
			for file, text := range setupFiles(dir, c.scripts, program) {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, err := exec.Command(shell, filepath.Join(dir, startFile)).Output()
			if (err != nil) != c.fails || string(out) != c.want {
				t.Errorf("%s, %s: %q, %v; want %q", shell, name, out, err, c.want)
			}
		}
	}
}
