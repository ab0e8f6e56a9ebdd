package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"agentctl/runtime/internal/record"
)

// Rung is one way of doing a thing on this host.
type Rung struct {
	Name  string `json:"name"`
	Works bool   `json:"works"`
	// Reason says why it does not work; "" if it does.
	Reason string `json:"reason,omitempty"`
}

// Host is what Probe found out: which rungs of containment and of the mount
// namespace work here, best first. The zero Host knows of none.
type Host struct {
	Containment []Rung `json:"containment"`
	Mounts      []Rung `json:"mounts"`
	// Sandbox tells whether sandboxes work, and what of them.
	Sandbox []Rung `json:"sandbox,omitempty"`
	// UID is the user that the probe ran as.
	UID int `json:"uid"`
}

// BestContainment is the best rung of containment that works, "" if none does.
func (h Host) BestContainment() string { return best(h.Containment) }

// MountNS is the best rung of the mount namespace for a task of user uid (-1 for
// the agent's own): MountNone where a task can't get a view of its own.
func (h Host) MountNS(uid int) string {
	for _, r := range h.Mounts {
		if r.Works && h.fits(r.Name, uid) == nil {
			return r.Name
		}
	}
	return MountNone
}

// fits refuses a user that the rung can't provide: a user namespace made by a
// plain user maps that user only.
func (h Host) fits(mount string, uid int) error {
	if mount == MountUserNS && uid != -1 && uid != h.UID {
		return fmt.Errorf("a user namespace of user %d can't run a task as user %d", h.UID, uid)
	}
	return nil
}

func best(rungs []Rung) string {
	for _, r := range rungs {
		if r.Works {
			return r.Name
		}
	}
	return ""
}

func find(rungs []Rung, name string) Rung {
	for _, r := range rungs {
		if r.Name == name {
			return r
		}
	}
	return Rung{Name: name, Reason: "it was not probed"}
}

// settle chooses what cfg leaves open, and refuses what this host can't do.
func (h Host) settle(cfg *Config) error {
	if cfg.Sandbox != nil {
		if r := find(h.Sandbox, SandboxWorks); !r.Works {
			return fmt.Errorf("sandboxes do not work here: %s", r.Reason)
		}
		if r := find(h.Sandbox, SandboxIDMap); !r.Works && !cfg.Sandbox.Shifted && !cfg.Sandbox.Host {
			return fmt.Errorf("the owners of layers can't be mapped here, store them in the range: %s", r.Reason)
		}
		if err := h.limited(cfg.Sandbox.Resources); err != nil {
			return err
		}
		cfg.Containment, cfg.MountNS = record.SandboxPIDNS, record.SandboxRoot
		return nil
	}
	if err := settleUser(cfg); err != nil {
		return err
	}
	return h.choose(cfg)
}

// choose settles the rungs of cfg.
func (h Host) choose(cfg *Config) error {
	if cfg.Containment == "" {
		cfg.Containment = h.BestContainment()
	}
	if r := find(h.Containment, cfg.Containment); !r.Works {
		if cfg.Containment == "" {
			return fmt.Errorf("no containment works here: %s", reasons(h.Containment))
		}
		return fmt.Errorf("containment %s does not work here: %s", r.Name, r.Reason)
	}
	if cfg.MountNS == "" {
		cfg.MountNS = h.MountNS(cfg.UID)
	}
	if cfg.MountNS == MountNone {
		if len(cfg.Overlays) > 0 {
			return fmt.Errorf("the task can't get a view of its own: %s", reasons(h.Mounts))
		}
		return nil
	}
	if r := find(h.Mounts, cfg.MountNS); !r.Works {
		return fmt.Errorf("mount namespace %s does not work here: %s", r.Name, r.Reason)
	}
	return h.fits(cfg.MountNS, cfg.UID)
}

func reasons(rungs []Rung) string {
	var why []string
	for _, r := range rungs {
		if !r.Works {
			why = append(why, r.Name+": "+r.Reason)
		}
	}
	if len(why) == 0 {
		return "nothing was probed"
	}
	return strings.Join(why, "; ")
}

// settleUser turns the agent's own user into -1, -1, and refuses users that the
// agent can't become.
func settleUser(cfg *Config) error {
	if cfg.UID == -1 || os.Geteuid() == 0 {
		return nil
	}
	if cfg.UID != os.Geteuid() || cfg.GID != os.Getegid() {
		return fmt.Errorf("a task can't run as user %d, group %d: the agent runs as %d, %d and is not root",
			cfg.UID, cfg.GID, os.Geteuid(), os.Getegid())
	}
	cfg.UID, cfg.GID, cfg.Groups = -1, -1, nil
	return nil
}

// Only is h as if no other rungs worked than those named; "" leaves a ladder as it
// is. It fails when a named rung does not work here.
func (h Host) Only(containment, mountNS, layers string) (Host, error) {
	var err error
	if h.Sandbox, err = onlyLayers(h.Sandbox, layers); err != nil {
		return h, fmt.Errorf("cannot give layers to sandboxes by %s: %w", layers, err)
	}
	if h.Containment, err = only(h.Containment, containment); err != nil {
		return h, fmt.Errorf("cannot contain tasks by %s: %w", containment, err)
	}
	if mountNS == MountNone { // needs nothing and is what is left
		h.Mounts = nil
	} else if h.Mounts, err = only(h.Mounts, mountNS); err != nil {
		return h, fmt.Errorf("cannot give tasks a view of their own by %s: %w", mountNS, err)
	}
	return h, nil
}

// How the layers of images get owners in the range of ids.
const (
	LayersMapped = "mapped" // as they are mounted
	LayersStored = "stored" // on the disk
)

// MapsOwners tells whether layers need not be stored with owners of the range.
func (h Host) MapsOwners() bool { return find(h.Sandbox, SandboxIDMap).Works }

func onlyLayers(rungs []Rung, layers string) ([]Rung, error) {
	switch mapped := find(rungs, SandboxIDMap); {
	case layers == "" || layers == LayersMapped && mapped.Works:
		return rungs, nil
	case layers == LayersMapped:
		return nil, errors.New(mapped.Reason)
	case layers != LayersStored:
		return nil, errors.New("there is no such means")
	}
	stored := slices.Clone(rungs)
	for i, r := range stored {
		if r.Name == SandboxIDMap {
			stored[i] = Rung{Name: r.Name, Reason: "another means is wanted"}
		}
	}
	return stored, nil
}

func only(rungs []Rung, name string) ([]Rung, error) {
	if name == "" {
		return rungs, nil
	}
	for _, r := range rungs {
		if r.Name != name {
			continue
		}
		if !r.Works {
			return nil, errors.New(r.Reason)
		}
		return []Rung{r}, nil
	}
	return nil, errors.New("there is no such rung")
}
