package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// LeastShare is a Resources.CPUShares that leaves the CPUs to others, until Promote.
const LeastShare = 2

// usualShares are the files of cgroups with the kernel's own weights, by controller.
var usualShares = []struct{ controller, file, value string }{
	{"cpu", "cpu.shares", "1024"}, {"", "cpu.weight", "100"},
}

// Promote gives a sandbox that was started with the LeastShare the usual one.
func (t *Task) Promote() error {
	for _, s := range usualShares {
		dir, ok := t.handle.Groups[s.controller]
		if !ok {
			continue
		}
		if err := setNumber(filepath.Join(dir, s.file), s.value); err != nil {
			return fmt.Errorf("cannot give task %s its share of the CPUs: %w", t.handle.ID, err)
		}
	}
	return nil
}

// setNumber leaves alone what is not there: the group has gone, or the controller is that
// of another hierarchy.
func setNumber(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if err = errors.Join(err, f.Close()); errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
