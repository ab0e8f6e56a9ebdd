package envcache

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// mostEnvironment is the longest environment.yml or explicit list that is read.
const mostEnvironment = 1 << 20

// condaFile is what a repository's environment.yml, or explicit list, asks for.
type condaFile struct {
	channels  []string
	specs     []string // in conda's syntax
	pip       []string // lines of the pip section, in pip's
	dir       string   // that their relative paths start from
	variables []string // KEY=VALUE, sorted
	explicit  []condaPackage
	logins    []urlLogin // that stood in URLs of the explicit list
	notes     []string
}

// readCondaFile reads the file below the repository base.
func readCondaFile(base, name string) (condaFile, error) {
	root, err := os.OpenRoot(base)
	if err != nil {
		return condaFile{}, fmt.Errorf("cannot read the conda environment: %w", err)
	}
	defer func() { _ = root.Close() }()
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return condaFile{}, fmt.Errorf("cannot read the conda environment: %w", err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return condaFile{}, fmt.Errorf("cannot read the conda environment: %s is no file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, mostEnvironment+1))
	if err == nil && len(data) > mostEnvironment {
		err = fmt.Errorf("it is longer than %d bytes", mostEnvironment)
	}
	var c condaFile
	if err == nil && isExplicit(string(data)) {
		c.explicit, c.logins, err = parseExplicit(string(data))
	} else if err == nil {
		c, err = parseEnvironment(data)
	}
	if err != nil {
		return condaFile{}, fmt.Errorf("cannot read %s: %w", name, err)
	}
	c.dir = path.Dir(filepath.ToSlash(name))
	return c, nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseEnvironment reads an environment.yml. Its name and prefix don't count:
// the cache decides where an environment is.
func parseEnvironment(data []byte) (condaFile, error) {
	var doc struct {
		Channels     []string       `yaml:"channels"`
		Dependencies []any          `yaml:"dependencies"`
		Variables    map[string]any `yaml:"variables"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return condaFile{}, err
	}
	c := condaFile{channels: doc.Channels}
	for _, d := range doc.Dependencies {
		switch d := d.(type) {
		case nil:
		case string:
			c.specs = append(c.specs, d)
		case map[string]any:
			if err := c.section(d); err != nil {
				return condaFile{}, err
			}
		default:
			return condaFile{}, fmt.Errorf("the dependency %q is no text", shorten(fmt.Sprint(d)))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(doc.Variables)) {
		v := fmt.Sprint(doc.Variables[k])
		switch {
		case k == "PATH":
			c.notes = append(c.notes, "the variable PATH of the conda environment is left out: the environment's own programs come first")
		case !variableName.MatchString(k) || strings.ContainsRune(v, 0):
			return condaFile{}, fmt.Errorf("%q is no name of a variable", shorten(k))
		default:
			c.variables = append(c.variables, k+"="+v)
		}
	}
	return c, nil
}

// section takes a dependency that is itself a list: only pip's is known.
func (c *condaFile) section(d map[string]any) error {
	for k, v := range d {
		lines, ok := v.([]any)
		if k != "pip" || !ok && v != nil {
			return fmt.Errorf("the dependencies hold %q, which is no list of pip packages", shorten(k))
		}
		for _, l := range lines {
			line, ok := l.(string)
			if !ok {
				return errors.New("the pip section holds something that is no text")
			}
			c.pip = append(c.pip, line)
		}
	}
	return nil
}
