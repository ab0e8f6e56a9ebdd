package worker

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"agentctl/clearml"
	"agentctl/envcache/repo"

	shellquote "github.com/kballard/go-shellquote"
)

// command is what a task's script section asks to be run, before it is known
// where its code lies.
type command struct {
	// Module is set for `-m module`, Code for `-c text`; else File is the script,
	// relative to Dir.
	Module string
	Code   string
	File   string
	Args   []string
	// Whole is an entry point with blanks in it: the name of a file, if there is one.
	Whole string
	// Dir is the working folder relative to the root of the code; a whole path only
	// where the code is that of the host or the image.
	Dir string
	// Literal holds the script's text for a task without a file of that name, which is
	// LiteralFile below Dir.
	Literal     string
	LiteralFile string
	// Shell is the interpreter of a task whose binary is a shell, else "".
	Shell string
	// Binary is another one, which no task is run with.
	Binary string
}

// moduleDir is an entry point "-m module:dir".
var moduleDir = regexp.MustCompile(`^(-m\s+[^\s:]+):(\S+)$`)

// parseScript reads the entry point as clearml-agent does: "-m module args", "-c text",
// "file.py args", or an entry point "file:dir" with an empty working folder. A diff
// that is no patch is the text of the script itself.
func parseScript(s clearml.Script) (command, error) {
	c := command{Dir: s.WorkingDir}
	entry := strings.TrimSpace(s.EntryPoint)
	if c.Dir == "" {
		if m := moduleDir.FindStringSubmatch(entry); m != nil {
			entry, c.Dir = m[1], m[2]
		} else if file, dir, ok := strings.Cut(entry, ":"); ok && !strings.ContainsAny(entry, " \t") {
			entry, c.Dir = file, dir
		}
	}
	if s.Diff != "" && !repo.IsPatch(s.Diff) {
		c.Literal = s.Diff
	}
	c.interpreter(s.Binary)
	if err := c.split(entry); err != nil {
		return c, err
	}
	if c.Dir == "" {
		c.Dir = "."
	}
	if c.Literal != "" && s.Repository == "" && path.IsAbs(c.Dir) {
		c.Dir = "." // a folder of the machine that the script was written on
	}
	return c, c.local()
}

// interpreter reads the first word of the binary: options behind it are those of the
// machine that the task was made on.
func (c *command) interpreter(binary string) {
	name := binaryName(binary)
	switch {
	case name == "bash", name == "sh", name == "zsh":
		c.Shell = name
	case name != "" && !strings.HasPrefix(name, "python"):
		c.Binary = name
	}
}

// binaryName is the name of the program that a task was made with.
func binaryName(binary string) string {
	words := strings.Fields(binary)
	if len(words) == 0 {
		return ""
	}
	return path.Base(words[0])
}

func (c *command) split(entry string) error {
	if rest, ok := strings.CutPrefix(entry, "-c"); ok && rest != "" && strings.ContainsAny(rest[:1], " \t\"'") {
		return c.inline(entry, strings.TrimSpace(rest))
	}
	// A word that begins with # is one as well, as for clearml-agent: no comment.
	words, err := shellquote.Split(entry)
	if err != nil {
		return fmt.Errorf("cannot read the entry point %q of the task: %w", entry, err)
	}
	switch {
	case len(words) == 0 && c.Literal != "":
		words = []string{literalName(c.Shell)}
	case len(words) == 0:
		return errors.New("cannot run the task: its script has no entry point; set script.entry_point to a file or to \"-m module\"")
	case words[0] == "-m" && len(words) < 2:
		return fmt.Errorf("cannot run the task: its entry point %q names no module", entry)
	case words[0] == "-m" && c.Shell != "":
		return fmt.Errorf("cannot run the task: its entry point %q is a module of Python, and its binary is %s", entry, c.Shell)
	case words[0] == "-m":
		c.Module, c.Args, c.Whole = words[1], words[2:], entry
		c.beside()
		return nil
	case strings.HasPrefix(words[0], "-"):
		return fmt.Errorf("cannot run the task: its entry point %q begins with an option; write a file, \"-m module\" or \"-c text\"", entry)
	}
	c.File, c.Args = words[0], words[1:]
	if len(words) > 1 {
		c.Whole = entry
	}
	if c.Literal != "" {
		if path.IsAbs(c.File) { // on the machine that it was written on
			c.File = path.Base(c.File)
		}
		c.LiteralFile = c.File
	}
	return nil
}

// inline reads "-c text". Text that is not quoted is all one, as for clearml-agent.
func (c *command) inline(entry, text string) error {
	c.Code = text
	if text != "" && strings.ContainsRune(`"'`, rune(text[0])) {
		words, err := shellquote.Split(text)
		if err != nil {
			return fmt.Errorf("cannot read the entry point %q of the task: %w", entry, err)
		}
		c.Code, c.Args = words[0], words[1:]
	}
	if strings.TrimSpace(c.Code) == "" {
		return fmt.Errorf("cannot run the task: its entry point %q has no text", entry)
	}
	c.beside()
	return nil
}

// beside names the file of a script that lies beside a module or a text that is run:
// "dir:file" as the working folder says which.
func (c *command) beside() {
	if c.Literal == "" {
		return
	}
	c.LiteralFile = literalName(c.Shell)
	if dir, file, ok := strings.Cut(c.Dir, ":"); ok && file != "" {
		c.Dir, c.LiteralFile = dir, file
	}
}

func literalName(shell string) string {
	if shell != "" {
		return "untitled.sh"
	}
	return "untitled.py"
}

// argv is the command line; program is the environment's interpreter, or the shell.
func (c *command) argv(program string, optimize int) []string {
	args := []string{program}
	if c.Shell == "" {
		args = append(args, "-u")
		if optimize > 0 {
			args = append(args, "-"+strings.Repeat("O", optimize))
		}
	}
	switch {
	case c.Module != "":
		args = append(args, "-m", c.Module)
	case c.Code != "":
		args = append(args, "-c", c.Code)
		if len(c.Args) > 0 && c.Shell != "" {
			return append(args, c.Args...) // the first is $0, as for the shell itself
		}
	default:
		args = append(args, c.File)
	}
	return append(args, c.Args...)
}

var variableUse = regexp.MustCompile(`\$(\w+|\{[^}]*\})`)

// expand replaces the variables of an entry point of a module, as clearml-agent does;
// env is the task's. Unknown ones stay, and so does the login: a command line is
// everybody's to read.
func (c *command) expand(env []string) error {
	if c.Module == "" || !strings.Contains(c.Whole, "$") {
		return nil
	}
	values := map[string]string{}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		values[name] = value
	}
	delete(values, tokenVar)
	entry := variableUse.ReplaceAllStringFunc(c.Whole, func(use string) string {
		if value, ok := values[strings.Trim(use, "${}")]; ok {
			return value
		}
		return use
	})
	words, err := shellquote.Split(entry)
	if err != nil || len(words) < 2 {
		return fmt.Errorf("cannot read the entry point %q of the task with its variables replaced", c.Whole)
	}
	c.Module, c.Args = words[1], words[2:]
	return nil
}
