package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// keychain finds the credentials of registries in files like docker's config.json,
// and in the helpers that such files name. It reads them each time, so that what
// rotates them needs no restart.
type keychain struct {
	own    string // must be there
	getenv func(string) string
}

// Resolve implements authn.Keychain.
func (k keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext is Resolve.
func (k keychain) ResolveContext(_ context.Context, target authn.Resource) (authn.Authenticator, error) {
	for _, path := range k.files() {
		cf, err := load(path)
		if errors.Is(err, fs.ErrNotExist) && path != k.own {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the credentials of registries: %w", err)
		}
		auth, err := lookUp(cf, target)
		if err != nil || auth != nil {
			return auth, err
		}
	}
	return authn.Anonymous, nil
}

// files are where docker and podman look, ours first.
func (k keychain) files() []string {
	var files []string
	add := func(folder string, rest ...string) {
		if folder != "" {
			files = append(files, filepath.Join(append([]string{folder}, rest...)...))
		}
	}
	add(k.own)
	home := k.getenv("HOME")
	if k.getenv("DOCKER_CONFIG") != "" {
		add(k.getenv("DOCKER_CONFIG"), "config.json")
	} else {
		add(home, ".docker", "config.json")
	}
	add(k.getenv("REGISTRY_AUTH_FILE"))
	add(k.getenv("XDG_RUNTIME_DIR"), "containers", "auth.json")
	if k.getenv("XDG_CONFIG_HOME") != "" {
		add(k.getenv("XDG_CONFIG_HOME"), "containers", "auth.json")
	} else {
		add(home, ".config", "containers", "auth.json")
	}
	return files
}

func load(path string) (*configfile.ConfigFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	cf, err := config.LoadFromReader(f)
	if err != nil {
		// The parser's words quote what it read.
		return nil, fmt.Errorf("%s is not in the form of docker's config.json", path)
	}
	return cf, nil
}

// lookUp finds the credentials for the repository, or for its registry; nil if there
// are none.
func lookUp(cf *configfile.ConfigFile, target authn.Resource) (authn.Authenticator, error) {
	for _, key := range []string{target.String(), target.RegistryStr()} {
		if key == name.DefaultRegistry {
			key = authn.DefaultAuthKey
		}
		found, err := cf.GetAuthConfig(key)
		if err != nil {
			return nil, fmt.Errorf("cannot get the credentials for %s: %w", target.RegistryStr(), err)
		}
		// A helper may give the address alone.
		found.ServerAddress = ""
		if found != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{
				Username: found.Username, Password: found.Password, Auth: found.Auth,
				IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
			}), nil
		}
	}
	return nil, nil
}
