package worker

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// identity is the user that a task runs as. A UID of -1 means the agent's own.
type identity struct {
	Name     string
	UID, GID int
	Groups   []int
	// Later tells that the shim gives files to the user: the agent, which is not root,
	// can't.
	Later bool
}

// defaultUsers are tried in this order for a root agent whose worker names no
// user: a task must not be root unless somebody wrote so.
var defaultUsers = []string{"agentctl", "nobody"}

// resolveUser finds the user for runAs. An agent that is not root can only run
// tasks as itself.
func resolveUser(runAs string) (identity, error) {
	if os.Geteuid() != 0 {
		return ownIdentity(runAs)
	}
	if runAs != "" {
		return lookupUser(runAs)
	}
	var err error
	for _, name := range defaultUsers {
		var id identity
		if id, err = lookupUser(name); err == nil {
			return id, nil
		}
	}
	return identity{}, fmt.Errorf("cannot choose a user for the tasks: %w; create the user agentctl or write runAs", err)
}

func ownIdentity(runAs string) (identity, error) {
	me, err := user.Current()
	if err != nil {
		return identity{}, fmt.Errorf("cannot find the agent's own user: %w", err)
	}
	if runAs != "" && runAs != me.Username && runAs != me.Uid {
		return identity{}, fmt.Errorf("cannot run tasks as %s: the agent runs as %s, and only root can change the user; leave runAs out", runAs, me.Username)
	}
	return identity{Name: me.Username, UID: -1, GID: -1}, nil
}

func lookupUser(name string) (identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		byID, idErr := user.LookupId(name)
		if idErr != nil {
			return identity{}, fmt.Errorf("cannot find the user %s: %w", name, err)
		}
		u = byID
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return identity{}, fmt.Errorf("cannot use the user %s: its id %q is no number", name, u.Uid)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return identity{}, fmt.Errorf("cannot use the user %s: its group %q is no number", name, u.Gid)
	}
	id := identity{Name: u.Username, UID: uid, GID: gid, Groups: []int{gid}}
	names, err := u.GroupIds()
	if err != nil {
		return id, nil //nolint:nilerr // a user without a readable group list still has its own group
	}
	for _, g := range names {
		if n, err := strconv.Atoi(g); err == nil && n != gid {
			id.Groups = append(id.Groups, n)
		}
	}
	return id, nil
}

// files gives the ids that the agent makes files with; -1 is its own.
func (id identity) files() (uid, gid int) {
	if id.UID < 0 || id.Later {
		return -1, -1
	}
	return id.UID, id.GID
}

// chown gives path to the identity; it does nothing for the agent's own user.
func (id identity) chown(path string) error {
	uid, gid := id.files()
	if uid < 0 {
		return nil
	}
	return os.Lchown(path, uid, gid)
}
