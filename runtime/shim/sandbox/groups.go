package sandbox

import (
	"fmt"
	"maps"
	"sync"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"

	"agentctl/runtime/internal/record"
)

// groups is the manager of a run's cgroups, which may not be there yet.
func groups(run *record.Run) (cgroups.Manager, error) {
	c := &cgroups.Cgroup{Path: run.CgroupPath, Rootless: run.Rootless, Resources: &cgroups.Resources{}}
	if run.CgroupPath == "" {
		c.Name = name(run)
	}
	m, err := manager.New(c)
	if err != nil {
		return nil, fmt.Errorf("cannot find the place of the cgroups: %w", err)
	}
	return m, nil
}

// GroupDirs are the folders of the cgroups that the run's sandbox will have.
func GroupDirs(run *record.Run) (map[string]string, error) {
	if run.Sandbox == nil || run.CgroupPath == "" {
		return nil, nil
	}
	known.Lock()
	defer known.Unlock()
	if known.of != run.CgroupPath {
		m, err := groups(run)
		if err != nil {
			return nil, err
		}
		known.of, known.dirs = run.CgroupPath, m.GetPaths()
	}
	return maps.Clone(known.dirs), nil
}

// known are the folders of the one sandbox that a shim has: to find them takes half a
// millisecond, with all that is mounted on the host.
var known struct {
	sync.Mutex
	of   string
	dirs map[string]string
}

// manage is the manager of the cgroups of a container.
func manage(run *record.Run, cfg *cgroups.Cgroup) (cgroups.Manager, error) {
	dirs, err := GroupDirs(run)
	if err != nil {
		return nil, err
	}
	return manager.NewWithPaths(cfg, dirs) // finds them itself if there are none
}

// RemoveGroups removes what a sandbox that could not be made has left.
func RemoveGroups(run *record.Run) error {
	m, err := groups(run)
	if err == nil {
		err = m.Destroy()
	}
	if err != nil {
		return fmt.Errorf("cannot remove the cgroups: %w", err)
	}
	return nil
}
