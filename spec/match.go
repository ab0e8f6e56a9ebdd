package spec

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// Host is the machine that a document is chosen for.
type Host struct {
	// Name of the machine, as it calls itself.
	Name string
	// Labels that its agent was given; those of a document's metadata have no part.
	Labels map[string]string
	// Called is what the node is called in place of its metadata.name; "": as that says.
	Called string
}

// Match chooses the machines of a document. All that is given must fit.
type Match struct {
	// Pattern for the name of the machine; * stands for any text, ? for one character.
	Hostname string `yaml:"hostname,omitempty" json:"hostname,omitempty"`
	// Labels that the agent of the machine was started with (`agentctl agent --label rack=r2`).
	Labels map[string]string `yaml:"labels,omitempty" json:"labels,omitempty"`
}

var hostnameForm = regexp.MustCompile(`^[a-z0-9.*?-]{1,253}$`)

const hostnameFix = "write lower-case letters, digits, - and ., with * for any text and ? for one character, as \"gpu-*\""

// fits tells whether a document with m is for the host. An empty Match fits none: it
// is a mistake, and would hand one machine's document to all.
func (m *Match) fits(h Host) bool {
	if m == nil || m.Hostname == "" && len(m.Labels) == 0 {
		return false
	}
	if m.Hostname != "" {
		if ok, err := path.Match(m.Hostname, NodeName(h.Name)); err != nil || !ok {
			return false
		}
	}
	for key, want := range m.Labels {
		if is, has := h.Labels[key]; !has || is != want {
			return false
		}
	}
	return true
}

// validMatch refuses a match that names nothing.
func (d *decoder) validMatch(m *Match) {
	faulty := slices.ContainsFunc(lo.Keys(d.failed), func(path string) bool { return strings.HasPrefix(path, "match") })
	if m != nil && m.Hostname == "" && len(m.Labels) == 0 && !faulty {
		d.semantic("match", SeverityError, "is empty, so that it fits no machine", "write a hostname or labels, or delete it")
	}
}

// ParseLabels reads labels of a host, each as KEY=VALUE.
func ParseLabels(list []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, s := range list {
		key, value, ok := strings.Cut(s, "=")
		switch {
		case !ok:
			return nil, fmt.Errorf("the label %s has no value; write it as rack=r2", quote(s))
		case !labelKeyForm.MatchString(key), !labelForm.MatchString(value):
			return nil, fmt.Errorf("the label %s is not allowed; %s", quote(s), labelFix)
		}
		if was, twice := labels[key]; twice && was != value {
			return nil, fmt.Errorf("the label %s is given twice, as %s and %s", quote(key), quote(was), quote(value))
		}
		labels[key] = value
	}
	return labels, nil
}
