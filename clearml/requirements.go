package clearml

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Requirements are the packages of a task. Pip is what to install, OrgPip what
// the task asked for before an agent wrote down what it had installed.
type Requirements struct {
	Pip    Lines `json:"pip"`
	OrgPip Lines `json:"org_pip,omitempty"`
	Conda  Lines `json:"conda,omitempty"`
	// OrgConda is to Conda what OrgPip is to Pip.
	OrgConda Lines `json:"org_conda,omitempty"`
	// CondaEnvJSON is an environment as conda describes it, in JSON.
	CondaEnvJSON Text `json:"conda_env_json,omitempty"`
	// Lock is what agentctl installed in full, as JSON text. Servers and the SDK
	// keep keys that they don't know, in clones as well.
	Lock Text `json:"agentctl_lock,omitempty"`
	// Other holds the keys that are none of the above: writing requirements replaces
	// all of them.
	Other map[string]json.RawMessage `json:"-"`
}

// requirementKeys are the keys of the fields of Requirements.
var requirementKeys = []string{"pip", "org_pip", "conda", "org_conda", "conda_env_json", "agentctl_lock"}

// plainRequirements has the fields of Requirements, without its methods.
type plainRequirements Requirements

// UnmarshalJSON accepts the object, and a plain string or list as pip's lines,
// which old clients stored.
func (r *Requirements) UnmarshalJSON(data []byte) error {
	*r = Requirements{}
	if s := strings.TrimSpace(string(data)); !strings.HasPrefix(s, "{") {
		return json.Unmarshal(data, &r.Pip)
	}
	if err := json.Unmarshal(data, (*plainRequirements)(r)); err != nil {
		return err
	}
	var all map[string]json.RawMessage
	err := json.Unmarshal(data, &all)
	maps.DeleteFunc(all, func(key string, _ json.RawMessage) bool { return slices.Contains(requirementKeys, key) })
	if len(all) > 0 {
		r.Other = all
	}
	return err
}

// MarshalJSON writes all keys, those of Other among them.
func (r Requirements) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(plainRequirements(r))
	if err != nil || len(r.Other) == 0 {
		return data, err
	}
	all := maps.Clone(r.Other)
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

// Installed is r with what was installed in place of what was asked for, which is
// kept once.
func (r Requirements) Installed(pip, conda []string, lock string) Requirements {
	if r.OrgPip == nil && r.Lock == "" {
		r.OrgPip = r.Pip
	}
	if conda != nil && r.OrgConda == nil && r.Lock == "" {
		r.OrgConda = r.Conda
	}
	r.Pip, r.Lock = pip, Text(lock)
	if conda != nil {
		r.Conda = conda
	}
	return r
}
