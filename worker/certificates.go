package worker

import (
	"os"
	"path/filepath"

	"agentctl/internal/fsx"
	"agentctl/runtime"
)

// certificatesFolder holds, below a task's folder, certificates of the host.
const certificatesFolder = "certificates"

// certify gives a task in an image the certificates of the host that variables name:
// those paths mean nothing there.
func (r *run) certify(cfg *runtime.Config, env *taskEnv, image *Image) error {
	if len(image.Layers) == 0 {
		return nil
	}
	dir := filepath.Join(r.dirs.root, certificatesFolder)
	for _, name := range certificateFiles {
		path, ok := r.pool.cfg.Environ(name)
		if !ok {
			continue
		}
		pem, err := os.ReadFile(path)
		if err != nil {
			continue // nor has the host anything there
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		file := filepath.Join(dir, name+".pem")
		if err := fsx.ReplaceFile(file, pem, 0o644); err != nil {
			return err
		}
		env.variables = append(env.variables, name+"="+file)
	}
	if exists(dir) {
		cfg.Overlays = append(cfg.Overlays, runtime.Overlay{Target: dir, Lower: dir})
	}
	env.noCertificates = true
	return nil
}

// certificateFiles are the variables that name a file of certificates.
var certificateFiles = []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"}
