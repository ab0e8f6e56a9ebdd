package worker

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"agentctl/clearml"
	"agentctl/envcache/repo"
	"agentctl/internal/fsx"

	shellquote "github.com/kballard/go-shellquote"
)

// command is what a task's script section asks to be run, before it is known
// where its code lies.
type command struct {
	// Module is set for `-m module`; else File is the script, relative to Dir.
	Module string
	File   string
	Args   []string
	// Dir is the working folder relative to the root of the code.
	Dir string
	// Literal holds the script's text for a task without a file of that name.
	Literal string
	// Shell is the interpreter of a task whose binary is a shell, else "".
	Shell string
}

// parseScript reads the entry point as clearml-agent does: "-m module args",
// "file.py args", or an entry point "file:dir" with an empty working folder. A
// diff that is no patch is the text of the script itself.
func parseScript(s clearml.Script) (command, error) {
	c := command{Dir: s.WorkingDir}
	entry := strings.TrimSpace(s.EntryPoint)
	if c.Dir == "" {
		if file, dir, ok := strings.Cut(entry, ":"); ok && !strings.ContainsAny(entry, " \t") {
			entry, c.Dir = file, dir
		}
	}
	if c.Dir == "" {
		c.Dir = "."
	}
	if _, err := fsx.SafeJoin("/", path.Clean(c.Dir)); err != nil {
		return c, fmt.Errorf("cannot use the working folder %q of the task: %w", c.Dir, err)
	}
	switch path.Base(s.Binary) {
	case "bash", "sh", "zsh":
		c.Shell = path.Base(s.Binary)
	}
	if s.Diff != "" && !repo.IsPatch(s.Diff) {
		c.Literal = s.Diff
	}
	return c, c.split(entry)
}

func (c *command) split(entry string) error {
	// A word that begins with # is one as well, as for clearml-agent: no comment.
	words, err := shellquote.Split(entry)
	if err != nil {
		return fmt.Errorf("cannot read the entry point %q of the task: %w", entry, err)
	}
	switch {
	case len(words) == 0 && c.Literal != "":
		words = []string{literalName(c.Shell)}
	case len(words) == 0:
		return fmt.Errorf("cannot run the task: its script has no entry point; set script.entry_point to a file or to \"-m module\"")
	case words[0] == "-m" && len(words) < 2:
		return fmt.Errorf("cannot run the task: its entry point %q names no module", entry)
	}
	if words[0] == "-m" {
		c.Module, c.Args = words[1], words[2:]
		return nil
	}
	c.File, c.Args = words[0], words[1:]
	if strings.HasPrefix(c.File, "-") {
		return fmt.Errorf("cannot run the task: its entry point %q begins with an option; write a file or \"-m module\"", entry)
	}
	if _, err := fsx.SafeJoin("/", path.Join(c.Dir, c.File)); err != nil {
		return fmt.Errorf("cannot use the entry point %q of the task: %w", c.File, err)
	}
	return nil
}

func literalName(shell string) string {
	if shell != "" {
		return "untitled.sh"
	}
	return "untitled.py"
}

// writeLiteral writes the script's text below root unless the repository holds
// a file of that name, as clearml-agent does. Every path goes through os.Root:
// the repository may hold a symbolic link that leads out.
func (c *command) writeLiteral(root string, owner identity) error {
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("cannot write the task's script: %w", err)
	}
	defer func() { _ = r.Close() }()
	name := filepath.Join(c.Dir, c.File)
	if _, err := r.Stat(name); err == nil {
		return nil
	}
	if err := r.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("cannot write the task's script: %w", err)
	}
	if err := r.WriteFile(name, []byte(c.Literal), 0o644); err != nil {
		return fmt.Errorf("cannot write the task's script: %w", err)
	}
	uid, gid := owner.files()
	if uid < 0 {
		return nil
	}
	for p := name; p != "."; p = filepath.Dir(p) {
		if err := r.Lchown(p, uid, gid); err != nil {
			return fmt.Errorf("cannot write the task's script: %w", err)
		}
	}
	return nil
}

// argv is the command line; python is the environment's interpreter.
func (c *command) argv(python string) []string {
	switch {
	case c.Shell != "":
		return append([]string{"/bin/" + c.Shell, c.File}, c.Args...)
	case c.Module != "":
		return append([]string{python, "-u", "-m", c.Module}, c.Args...)
	default:
		return append([]string{python, "-u", c.File}, c.Args...)
	}
}
