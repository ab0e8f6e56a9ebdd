package worker

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"agentctl/runtime"
	"agentctl/runtime/dockerargs"
)

// mostDevices bounds how many devices a task is given.
const mostDevices = 512

// devicesOf are the device nodes that are asked for: of a folder all below it, as with
// Docker.
func devicesOf(asked []dockerargs.Device) ([]runtime.Device, error) {
	var found []runtime.Device
	for _, d := range asked {
		err := filepath.WalkDir(d.Path, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case e.IsDir(), path != d.Path && e.Type()&fs.ModeDevice == 0:
				return nil
			case len(found) == mostDevices:
				return fmt.Errorf("there are more than %d", mostDevices)
			}
			// What is named itself and is no device is refused by the shim, which looks at
			// what it shows.
			found = append(found, runtime.Device{Path: path, Target: d.InContainer + strings.TrimPrefix(path, d.Path), Access: d.Permissions})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("cannot give the task the device %s: %w", d.Path, err)
		}
	}
	return found, nil
}
