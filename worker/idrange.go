package worker

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"agentctl/internal/fsx"
	"agentctl/runtime"
	"agentctl/spec"

	"github.com/moby/sys/user"
)

// idRangeFile remembers the range of a node: environments and checkouts of its
// sandboxes belong to it.
const idRangeFile = "ids.json"

const (
	idRangeSize  = 65536
	lowestRange  = 1 << 19 // above what distributions give to ordinary users
	highestRange = 1 << 30
)

// IDRange settles which users and groups of the host are those of sandboxes: what
// node.yaml says, else what it was before, else the agent's own range in /etc/subuid,
// else, for root, one that nobody has.
func IDRange(state string, want spec.IDRange) (runtime.IDRange, error) {
	if os.Geteuid() != 0 {
		return subordinate(want)
	}
	if want.Base > 0 {
		return runtime.IDRange{Base: want.Base, Size: cmp.Or(want.Size, idRangeSize)}, nil
	}
	file := filepath.Join(state, idRangeFile)
	var r runtime.IDRange
	err := fsx.ReadJSON(file, &r)
	if err == nil && r.Base > 0 && r.Size > 0 {
		return r, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("cannot read the range of ids: %w", err)
	}
	if r, err = freeRange(); err != nil {
		return r, err
	}
	if err := fsx.WriteJSON(file, r, 0o600); err != nil {
		return r, fmt.Errorf("cannot record the range of ids: %w", err)
	}
	return r, nil
}

// subordinate is the range of an agent that is not root: all of its subordinate ids,
// or those of them that are wanted. Nothing is to be remembered of it.
func subordinate(want spec.IDRange) (runtime.IDRange, error) {
	has, _, err := runtime.SubIDs()
	if err != nil {
		return has, fmt.Errorf("cannot make sandboxes: %w; until then use mode: venv", err)
	}
	return among(has, want)
}

// among takes the range that is wanted out of the one that there is.
func among(has runtime.IDRange, want spec.IDRange) (runtime.IDRange, error) {
	if want.Base == 0 {
		has.Size = min(has.Size, idRangeSize)
		return has, nil
	}
	ids := runtime.IDRange{Base: want.Base, Size: cmp.Or(want.Size, idRangeSize)}
	if ids.Base < has.Base || ids.Base+ids.Size > has.Base+has.Size {
		return ids, fmt.Errorf("cannot make sandboxes of the ids %d+%d (spec.sandbox.ids): the agent is not root, and its subordinate ids are %d+%d", ids.Base, ids.Size, has.Base, has.Size)
	}
	return ids, nil
}

// freeRange is the agent's own range, else one that no other user has.
func freeRange() (runtime.IDRange, error) {
	var taken []user.SubID
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		ids, err := user.ParseSubIDFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return runtime.IDRange{}, fmt.Errorf("cannot read %s: %w", file, err)
		}
		taken = append(taken, ids...)
	}
	name, id := "root", fmt.Sprint(os.Geteuid())
	if me, err := user.CurrentUser(); err == nil {
		name = me.Name
	}
	for _, t := range taken {
		if (t.Name == name || t.Name == id) && t.Count >= idRangeSize {
			return runtime.IDRange{Base: int(t.SubID), Size: idRangeSize}, nil
		}
	}
	for base := lowestRange; base < highestRange; base += idRangeSize {
		if !slices.ContainsFunc(taken, func(t user.SubID) bool {
			return int64(base) < t.SubID+t.Count && t.SubID < int64(base+idRangeSize)
		}) {
			return runtime.IDRange{Base: base, Size: idRangeSize}, nil
		}
	}
	return runtime.IDRange{}, errors.New("no range of ids is free: write spec.sandbox.ids")
}
