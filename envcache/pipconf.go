package envcache

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// pipSettings are those settings of pip on this host that say where packages
// come from.
type pipSettings struct {
	index   string
	extra   []string
	trusted []string
	cert    string
}

// hostPipSettings reads them as pip itself would for the user of this process:
// from the files of the machine and of the user, then from the environment.
// https://pip.pypa.io/en/stable/topics/configuration/
func hostPipSettings(getenv func(string) string) pipSettings {
	values := map[string]string{}
	for _, file := range pipConfigFiles(getenv) {
		if data, err := os.ReadFile(file); err == nil {
			readPipConfig(string(data), values)
		}
	}
	for _, key := range []string{"index-url", "extra-index-url", "trusted-host", "cert"} {
		if v := getenv("PIP_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))); v != "" {
			values[key] = v
		}
	}
	return pipSettings{
		values["index-url"], strings.Fields(values["extra-index-url"]), strings.Fields(values["trusted-host"]), values["cert"],
	}
}

func pipConfigFiles(getenv func(string) string) []string {
	own := getenv("PIP_CONFIG_FILE")
	if own == os.DevNull {
		return nil
	}
	home := getenv("HOME")
	var files []string
	dirs := filepath.SplitList(cmp.Or(getenv("XDG_CONFIG_DIRS"), "/etc/xdg"))
	slices.Reverse(dirs) // the first one is the most important
	for _, d := range dirs {
		files = append(files, filepath.Join(d, "pip", "pip.conf"))
	}
	files = append(files, "/etc/pip.conf")
	if home != "" {
		files = append(files, filepath.Join(home, ".pip", "pip.conf"))
	}
	if config := cmp.Or(getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config")); filepath.IsAbs(config) {
		files = append(files, filepath.Join(config, "pip", "pip.conf"))
	}
	return lo.Filter(append(files, own), func(f string, _ int) bool { return filepath.IsAbs(f) })
}

// readPipConfig takes the sections global and install of an INI file; install
// counts more. Values may go on in indented lines.
func readPipConfig(text string, values map[string]string) {
	bySection := map[string]map[string]string{}
	section, key := "", ""
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
		case trimmed[0] == '[' && strings.HasSuffix(trimmed, "]"):
			section, key = strings.TrimSpace(trimmed[1:len(trimmed)-1]), ""
		case (line[0] == ' ' || line[0] == '\t') && key != "":
			bySection[section][key] += " " + trimmed
		default:
			i := strings.IndexAny(trimmed, "=:")
			if i < 0 {
				key = ""
				continue
			}
			key = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(trimmed[:i])), "_", "-")
			if bySection[section] == nil {
				bySection[section] = map[string]string{}
			}
			bySection[section][key] = strings.TrimSpace(trimmed[i+1:])
		}
	}
	for _, s := range []string{"global", "install"} {
		for k, v := range bySection[s] {
			values[k] = v
		}
	}
}

// lines tell the indexes in a requirements file.
func (p pipSettings) lines() []string {
	var lines []string
	if p.index != "" {
		lines = append(lines, "--index-url "+p.index)
	}
	for _, x := range p.extra {
		lines = append(lines, "--extra-index-url "+x)
	}
	return lines
}
