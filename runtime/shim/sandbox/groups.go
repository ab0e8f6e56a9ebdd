package sandbox

import (
	"fmt"

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
	m, err := groups(run)
	if err != nil {
		return nil, err
	}
	return m.GetPaths(), nil
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
