package envcache

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

var (
	entryName  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:@ -]{0,199}$`)
	entryGroup = regexp.MustCompile(`^\w[\w.:-]{0,199}$`)
	entryValue = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?$`)
)

// entryPoints are those of the project that Python can make use of.
func (p pyproject) entryPoints() map[string]map[string]string {
	out := map[string]map[string]string{}
	add := func(group string, entries map[string]any) {
		for name, v := range entries {
			value, _ := v.(string)
			if t, ok := v.(map[string]any); ok && t["type"] != "file" { // poetry's longer form
				reference, _ := t["reference"].(string)
				callable, _ := t["callable"].(string)
				value = cmp.Or(reference, callable)
			}
			value, _, _ = strings.Cut(value, "[") // extras, which nobody reads any more
			value = strings.ReplaceAll(value, " ", "")
			if !entryGroup.MatchString(group) || !entryName.MatchString(name) || !entryValue.MatchString(value) {
				continue
			}
			if out[group] == nil {
				out[group] = map[string]string{}
			}
			out[group][name] = value
		}
	}
	for group, entries := range p.table("tool", "poetry", "plugins") {
		t, _ := entries.(map[string]any)
		add(group, t)
	}
	for group, entries := range p.table("project", "entry-points") {
		t, _ := entries.(map[string]any)
		add(group, t)
	}
	add("console_scripts", p.table("tool", "poetry", "scripts"))
	add("console_scripts", p.table("project", "scripts"))
	add("gui_scripts", p.table("project", "gui-scripts"))
	return out
}

// WriteMetadata makes the metadata of a project in the folder dir, which goes to
// PYTHONPATH, and its scripts in dir/bin, which goes to PATH: as if the project
// were installed, for one task. It makes dir as well. python runs the scripts. All
// belongs to uid and gid, or to this process if uid is SameUser. Without a name it
// does nothing.
func (p ProjectPaths) WriteMetadata(dir, python string, uid, gid int) error {
	if p.Name == "" {
		return nil
	}
	uid, gid = owner(uid, gid)
	if err := p.writeMetadata(dir, python, uid, gid); err != nil {
		return fmt.Errorf("cannot write the project's metadata: %w", err)
	}
	return nil
}

func (p ProjectPaths) writeMetadata(dir, python string, uid, gid int) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err == nil && switches(uid) {
		err = os.Lchown(dir, uid, gid)
	}
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	s := &site{root: root, uid: uid, gid: gid}
	return errors.Join(p.writeInfo(s), p.writeScripts(s, python))
}

func (p ProjectPaths) writeInfo(s *site) error {
	info := strings.ReplaceAll(normalName(p.Name), "-", "_") + "-" + strings.ReplaceAll(p.Version, "-", "_") + ".dist-info"
	files := map[string]string{
		"METADATA":  "Metadata-Version: 2.1\nName: " + p.Name + "\nVersion: " + p.Version + "\n",
		"INSTALLER": "agentctl\n",
	}
	if text := p.entryPointsText(); text != "" {
		files["entry_points.txt"] = text
	}
	files["RECORD"] = info + "/RECORD,,\n"
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name != "RECORD" {
			files["RECORD"] += info + "/" + name + ",,\n"
		}
	}
	err := s.mkdir(info)
	for name, text := range files {
		err = errors.Join(err, s.write(info+"/"+name, text, 0o644))
	}
	return err
}

func (p ProjectPaths) entryPointsText() string {
	var b strings.Builder
	for _, group := range slices.Sorted(maps.Keys(p.EntryPoints)) {
		b.WriteString("[" + group + "]\n")
		for _, name := range slices.Sorted(maps.Keys(p.EntryPoints[group])) {
			b.WriteString(name + " = " + p.EntryPoints[group][name] + "\n")
		}
	}
	return b.String()
}

func (p ProjectPaths) writeScripts(s *site, python string) error {
	err := s.mkdir("bin")
	for _, group := range []string{"console_scripts", "gui_scripts"} {
		for name, value := range p.EntryPoints[group] {
			module, object, ok := strings.Cut(value, ":")
			if !ok {
				continue
			}
			first, _, _ := strings.Cut(object, ".")
			text := "#!" + python + "\nimport sys\nfrom " + module + " import " + first + "\nsys.exit(" + object + "())\n"
			err = errors.Join(err, s.write("bin/"+name, text, 0o755))
		}
	}
	return err
}
