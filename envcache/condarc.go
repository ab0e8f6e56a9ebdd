package envcache

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// condaSettings are those settings of conda on this host that say where packages
// come from and how they are reached.
type condaSettings struct {
	channels []string
	groups   map[string][]string // names that stand for several channels
	custom   map[string]string   // names with a place of their own
	alias    string              // where all other names are; "" where the client knows
	insecure bool                // certificates are not checked
	cert     string              // file of the authorities that are trusted
	proxies  map[string]string
	offline  bool
	anywhere bool // the highest version counts, from whichever channel
}

// condarc is one .condarc. https://docs.conda.io/projects/conda/en/stable/configuration.html
type condarc struct {
	Channels            []string            `yaml:"channels"`
	DefaultChannels     []string            `yaml:"default_channels"`
	ChannelAlias        string              `yaml:"channel_alias"`
	CustomChannels      map[string]string   `yaml:"custom_channels"`
	CustomMultichannels map[string][]string `yaml:"custom_multichannels"`
	SSLVerify           any                 `yaml:"ssl_verify"`
	ProxyServers        map[string]string   `yaml:"proxy_servers"`
	ChannelPriority     any                 `yaml:"channel_priority"`
	Offline             bool                `yaml:"offline"`
}

// hostCondaSettings reads them as conda itself would for the user of this
// process: the later file counts more, and its channels come first.
func hostCondaSettings(getenv func(string) string) (condaSettings, error) {
	// Where nothing else is said, the two channels that conda's installer names.
	s := condaSettings{groups: map[string][]string{"defaults": {"main", "r"}}, custom: map[string]string{}, proxies: map[string]string{}}
	for _, file := range condarcFiles(getenv) {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // not there, or not for this user
		}
		rc, err := parseCondarc(data, getenv)
		if err != nil {
			return s, fmt.Errorf("cannot read %s: %w", file, err)
		}
		s.take(rc)
	}
	if v := getenv("CONDA_CHANNELS"); v != "" {
		s.channels = append(strings.Split(v, ","), s.channels...)
	}
	s.alias = cmp.Or(getenv("CONDA_CHANNEL_ALIAS"), s.alias)
	if v := getenv("CONDA_SSL_VERIFY"); v != "" {
		s.verify(v)
	}
	return s, nil
}

func condarcFiles(getenv func(string) string) []string {
	home, config := getenv("HOME"), getenv("XDG_CONFIG_HOME")
	files := []string{"/etc/conda/.condarc", "/etc/conda/condarc"}
	more, err := filepath.Glob("/etc/conda/condarc.d/*.y*ml")
	if err == nil {
		files = append(files, more...)
	}
	files = append(files, "/var/lib/conda/.condarc", "/var/lib/conda/condarc")
	files = append(files, filepath.Join(cmp.Or(config, filepath.Join(home, ".config")), "conda", ".condarc"))
	files = append(files, filepath.Join(home, ".conda", ".condarc"), filepath.Join(home, ".condarc"), getenv("CONDARC"))
	return slices.DeleteFunc(files, func(f string) bool { return !filepath.IsAbs(f) })
}

func parseCondarc(data []byte, getenv func(string) string) (condarc, error) {
	var rc condarc
	if len(data) > mostEnvironment {
		return rc, fmt.Errorf("it is longer than %d bytes", mostEnvironment)
	}
	if err := yaml.Unmarshal(data, &rc); err != nil {
		return condarc{}, err
	}
	expand := func(s string) string {
		return os.Expand(s, func(name string) string { return cmp.Or(getenv(name), "${"+name+"}") })
	}
	for _, list := range [][]string{rc.Channels, rc.DefaultChannels} {
		for i := range list {
			list[i] = expand(list[i])
		}
	}
	for _, m := range []map[string]string{rc.CustomChannels, rc.ProxyServers} {
		for k, v := range m {
			m[k] = expand(v)
		}
	}
	for _, list := range rc.CustomMultichannels {
		for i := range list {
			list[i] = expand(list[i])
		}
	}
	rc.ChannelAlias = expand(rc.ChannelAlias)
	return rc, nil
}

// take merges a file that counts more than those before it.
func (s *condaSettings) take(rc condarc) {
	s.channels = append(rc.Channels, s.channels...)
	if rc.DefaultChannels != nil {
		s.groups["defaults"] = rc.DefaultChannels
	}
	for k, v := range rc.CustomMultichannels {
		s.groups[k] = v
	}
	for k, v := range rc.CustomChannels {
		s.custom[k] = v
	}
	for k, v := range rc.ProxyServers {
		s.proxies[k] = v
	}
	s.alias = cmp.Or(rc.ChannelAlias, s.alias)
	s.offline = s.offline || rc.Offline
	if rc.ChannelPriority != nil {
		p := strings.ToLower(fmt.Sprint(rc.ChannelPriority))
		s.anywhere = p == "disabled" || p == "false"
	}
	if rc.SSLVerify != nil {
		s.verify(fmt.Sprint(rc.SSLVerify))
	}
}

// verify takes a value of ssl_verify: a switch, or the file of the authorities.
func (s *condaSettings) verify(v string) {
	s.insecure, s.cert = false, ""
	switch strings.ToLower(v) {
	case "false", "no", "off", "0", "<false>":
		s.insecure = true
	case "true", "yes", "on", "1", "<true>", "truststore":
	default:
		s.cert = v
	}
}
