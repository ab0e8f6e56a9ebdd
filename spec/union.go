package spec

import (
	"encoding/json"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"
)

var deviceForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,2}|(GPU|MIG)-[0-9A-Za-z][0-9A-Za-z/-]{0,99})$`)

// deviceValue is a device as people write it: an index as a number.
func deviceValue(device string) any {
	if n, err := strconv.Atoi(device); err == nil {
		return n
	}
	return device
}

// value is the request as it is written in a document; nil when it is left out.
func (g GPURequest) value() any {
	switch g.Mode {
	case GPUsNone, GPUsAll:
		return g.Mode
	case GPUsCount:
		return g.Count
	case GPUsShare:
		return g.Share
	case GPUsList:
		list := make([]any, len(g.Devices))
		for i, device := range g.Devices {
			list[i] = deviceValue(device)
		}
		return list
	}
	return nil
}

// String renders g as it is written in a document.
func (g GPURequest) String() string { return flow(g.value()) }

// IsZero says whether the request is left out.
func (g GPURequest) IsZero() bool { return g.Mode == "" }

// value is the list as it is written in a document; nil when it is left out.
func (s Slots) value() any {
	switch s.Mode {
	case SlotsAuto, SlotsNone:
		return s.Mode
	case SlotsList:
		return append([]Slot{}, s.List...)
	}
	return nil
}

// String renders s as it is written in a document.
func (s Slots) String() string { return flow(s.value()) }

// IsZero says whether the slots are left out.
func (s Slots) IsZero() bool { return s.Mode == "" }

// MarshalYAML writes g as a count, a share, a list, all or none.
func (g GPURequest) MarshalYAML() (any, error) { return g.value(), nil }

// MarshalJSON writes g as a count, a share, a list, all or none.
func (g GPURequest) MarshalJSON() ([]byte, error) { return json.Marshal(g.value()) }

// MarshalYAML writes s as auto, none or a list.
func (s Slots) MarshalYAML() (any, error) { return s.value(), nil }

// MarshalJSON writes s as auto, none or a list.
func (s Slots) MarshalJSON() ([]byte, error) { return json.Marshal(s.value()) }

// MarshalYAML writes the device as a number when it is an index.
func (s Slot) MarshalYAML() (any, error) {
	return struct {
		Device any `yaml:"device"`
		Shares int `yaml:"shares,omitempty"`
	}{deviceValue(s.Device), s.Shares}, nil
}

// UnmarshalYAML reads what MarshalYAML writes, as strictly as Decode does.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error { return decodeValue(n, d) }

// UnmarshalYAML reads what MarshalYAML writes, as strictly as Decode does.
func (s *Size) UnmarshalYAML(n *yaml.Node) error { return decodeValue(n, s) }

// UnmarshalYAML reads what MarshalYAML writes, as strictly as Decode does.
func (g *GPURequest) UnmarshalYAML(n *yaml.Node) error { return decodeValue(n, g) }

// UnmarshalYAML reads what MarshalYAML writes, as strictly as Decode does.
func (s *Slots) UnmarshalYAML(n *yaml.Node) error { return decodeValue(n, s) }

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Duration) UnmarshalJSON(data []byte) error { return decodeJSON(data, d) }

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Size) UnmarshalJSON(data []byte) error { return decodeJSON(data, s) }

// UnmarshalJSON reads what MarshalJSON writes.
func (g *GPURequest) UnmarshalJSON(data []byte) error { return decodeJSON(data, g) }

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Slots) UnmarshalJSON(data []byte) error { return decodeJSON(data, s) }

// decodeJSON reads one value: JSON is YAML, so that there is one set of rules for
// both. A null changes nothing, as everywhere in encoding/json.
func decodeJSON(data []byte, into nodeDecoder) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return err
	}
	if len(doc.Content) != 1 || doc.Content[0].ShortTag() == tagNull {
		return nil
	}
	return decodeValue(doc.Content[0], into)
}
