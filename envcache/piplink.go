package envcache

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// pthName is the file that makes the private pip importable in an environment.
const pthName = "agentctl_pip.pth"

// installTool makes `pip` and `python -m pip` work in the environment without
// installing it there: a path file names the private pip's folder, and a few
// lines stand in for the program. What a task installs with it goes to the
// task's own layer. An environment that installs a pip of its own uses that.
func installTool(s *site, tool pipTool, settings pipSettings) error {
	sites, err := sitePackages(s.root)
	if err != nil {
		return err
	}
	if err := s.write(path.Join(sites, pthName), tool.dir+"\n", 0o644); err != nil {
		return err
	}
	if err := s.write("pip.conf", pipConfig(settings), 0o644); err != nil {
		return err
	}
	script := pipScript(filepath.Join(s.path, "bin", "python"))
	for _, name := range []string{"pip", "pip3"} {
		if _, err := s.root.Lstat("bin/" + name); err == nil {
			continue // a conda environment with a pip of its own
		}
		if err := s.write("bin/"+name, script, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func pipScript(python string) string {
	return "#!" + python + "\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
}

// pipConfig are the settings of pip inside the environment: a task that
// installs something gets it from where its environment came from.
func pipConfig(s pipSettings) string {
	var b strings.Builder
	b.WriteString("[global]\ndisable-pip-version-check = true\n")
	if s.index != "" {
		fmt.Fprintf(&b, "index-url = %s\n", oneLine(s.index))
	}
	if len(s.extra) > 0 {
		b.WriteString("extra-index-url =\n")
	}
	for _, x := range s.extra {
		fmt.Fprintf(&b, "    %s\n", oneLine(x))
	}
	return b.String()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), "%20") }

// sitePackages is the folder for packages, relative to the environment.
func sitePackages(root interface{ FS() fs.FS }) (string, error) {
	found, err := fs.Glob(root.FS(), "lib/*/site-packages")
	// The Python of conda-forge has lib/python3.1 as another name of lib/python3.12.
	found = slices.DeleteFunc(found, func(f string) bool {
		info, err := fs.Lstat(root.FS(), path.Dir(f))
		return err == nil && info.Mode().Type() == fs.ModeSymlink
	})
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("the environment has %d folders for packages, not one", len(found))
	}
	return found[0], nil
}

// write writes a file of the environment for its owner.
func (s *site) write(name, text string, perm fs.FileMode) error {
	if err := s.root.WriteFile(name, []byte(text), perm); err != nil {
		return err
	}
	if err := s.root.Chmod(name, perm); err != nil || !switches(s.uid) {
		return err
	}
	return s.root.Lchown(name, s.uid, s.gid)
}

func (s *site) mkdir(name string) error {
	if err := s.root.Mkdir(name, 0o755); err != nil || !switches(s.uid) {
		return err
	}
	return s.root.Lchown(name, s.uid, s.gid)
}
