package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"agentctl/internal/fsx"
	"agentctl/runtime"

	shellquote "github.com/kballard/go-shellquote"
)

// setupFolder holds what starts a task after its setup scripts, below its folder.
const setupFolder = "setup"

// withSetup has the setup scripts run before the task's program, those of the node
// first: in the shell that becomes the program, so that what they export stays, and
// each as a file of its own, so that an open quote in one does not swallow the next.
func (r *run) withSetup(cfg *runtime.Config, p *prepared) error {
	if p.box == nil || len(p.box.Setup) == 0 {
		return nil
	}
	dir := filepath.Join(r.dirs.root, setupFolder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot write the setup scripts: %w", err)
	}
	for name, text := range setupFiles(dir, p.box.Setup, cfg.Args) {
		if err := fsx.ReplaceFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	cfg.Overlays = append(cfg.Overlays, runtime.Overlay{Target: dir, Lower: dir})
	cfg.Args = []string{p.box.image.shell(), filepath.Join(dir, startFile)}
	return nil
}

// startFile runs the others.
const startFile = "start.sh"

// setupFiles are the files in dir by name.
func setupFiles(dir string, scripts, args []string) map[string]string {
	files := map[string]string{}
	var start strings.Builder
	for i, script := range scripts {
		name := fmt.Sprintf("%d.sh", i+1)
		files[name] = script
		// The one before may have turned -e off for itself.
		fmt.Fprintf(&start, "set -e\n. %s\n", shellquote.Join(filepath.Join(dir, name)))
	}
	// The program stands here, not in the shell's arguments: a script's `set --` would
	// replace those.
	fmt.Fprintf(&start, "set +e\nexec %s\n", shellquote.Join(args...))
	files[startFile] = start.String()
	return files
}
