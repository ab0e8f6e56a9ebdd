package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"agentctl/internal/fsx"
	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
)

// An exit record that a power cut damaged is none: the run is lost. One that is damaged
// in the boot that wrote it is an error, which nobody takes for an end.
func TestExitOfAPowerCut(t *testing.T) {
	boot, err := contain.BootID()
	must(t, err)
	for _, tt := range []struct {
		name, boot, exit string
		lost             bool
	}{
		{"empty", "another", "", true},
		{"zeros", "another", "\x00\x00\x00", true},
		{"cut", "another", `{"version":1,"rea`, true},
		{"of this boot", boot, "", false},
	} {
		dir := newDir(t)
		must(t, errors.Join(
			os.WriteFile(filepath.Join(dir, record.LockFile), nil, 0o600),
			fsx.WriteJSON(filepath.Join(dir, record.HandleFile), Handle{Version: record.Version, ID: "a", PID: 1 << 30, BootID: tt.boot}, 0o600),
			os.WriteFile(filepath.Join(dir, record.ExitFile), []byte(tt.exit), 0o600),
		))
		task, err := Attach(dir)
		if !tt.lost {
			if err == nil {
				t.Errorf("%s: attached to what can't be read", tt.name)
				task.Detach()
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if exit := wait(t, task); exit.Reason != Lost {
			t.Errorf("%s: ended as %+v", tt.name, exit)
		}
		if exit, err := record.ReadExit(dir); err != nil || exit == nil || exit.Reason != Lost {
			t.Errorf("%s: recorded is %+v, %v", tt.name, exit, err)
		}
	}
}
