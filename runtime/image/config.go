package image

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Config is what an image says of the program to run in it. All of it is text of
// whoever made the image.
type Config struct {
	Env          []string          `json:"env,omitempty"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Cmd          []string          `json:"cmd,omitempty"`
	WorkingDir   string            `json:"workingDir,omitempty"`
	User         string            `json:"user,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	StopSignal   string            `json:"stopSignal,omitempty"`
	OS           string            `json:"os"`
	Architecture string            `json:"architecture"`
	Variant      string            `json:"variant,omitempty"`
}

// readConfig reads the configuration of an image, and checks it with its manifest.
func readConfig(ctx context.Context, src source, f *found, wait time.Duration) ([]byte, *v1.ConfigFile, error) {
	d := f.manifest.Config
	body := newResumed(ctx, src, d, wait)
	defer func() { _ = body.Close() }()
	raw, err := readAll(body, d.Size)
	if err == nil {
		err = check(raw, d.Digest.String())
	}
	if err == nil && int64(len(raw)) != d.Size {
		err = fmt.Errorf("%w: it has %d bytes in place of %d", ErrDigest, len(raw), d.Size)
	}
	if err != nil {
		return nil, nil, err
	}
	var cf v1.ConfigFile
	if err := json.Unmarshal(raw, &cf); err != nil {
		return nil, nil, fmt.Errorf("cannot read it: %w", err)
	}
	if len(cf.RootFS.DiffIDs) != len(f.manifest.Layers) {
		return nil, nil, fmt.Errorf("it tells of %d layers, the manifest of %d", len(cf.RootFS.DiffIDs), len(f.manifest.Layers))
	}
	for _, h := range cf.RootFS.DiffIDs {
		if _, err := v1.NewHash(h.String()); err != nil {
			return nil, nil, fmt.Errorf("%.100q is no digest", h)
		}
	}
	return raw, &cf, nil
}

func configOf(cf *v1.ConfigFile) Config {
	c := cf.Config
	return Config{
		Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, WorkingDir: c.WorkingDir, User: c.User, Labels: c.Labels,
		StopSignal: c.StopSignal, OS: cf.OS, Architecture: cf.Architecture, Variant: cf.Variant,
	}
}

// fits tells whether the image is for a platform. Images of old say nothing.
func (c Config) fits(want v1.Platform) error {
	if c.OS != "" && c.OS != want.OS || c.Architecture != "" && c.Architecture != want.Architecture {
		return fmt.Errorf("it is for %s/%s, not for %s", c.OS, c.Architecture, want)
	}
	return nil
}
