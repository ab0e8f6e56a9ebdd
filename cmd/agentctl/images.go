package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"agentctl/runtime"
	"agentctl/runtime/image"
	"agentctl/spec"
	"agentctl/worker"

	"github.com/samber/lo"
)

// images gives sandboxes their images, from the store in the state folder. How
// registries are reached may change while the agent runs: then the store is opened
// anew, and what was leased stays so.
type images struct {
	state string
	log   *slog.Logger
	// shifted tells that layers are stored with owners of the range of ids, since mounts
	// can't map them.
	shifted bool

	mu       sync.Mutex
	store    *image.Store
	settings spec.Sandbox // that it was opened for
}

// policies are the store's words for those of node.yaml.
var policies = map[string]image.Policy{spec.PullMissing: image.IfNotPresent, spec.PullAlways: image.Always, spec.PullNever: image.Never}

// Acquire leases an image.
func (i *images) Acquire(ctx context.Context, ref string, s spec.Sandbox, say func(string, int64, int64)) (*worker.Image, error) {
	store, err := i.open(s)
	if err != nil {
		return nil, err
	}
	l, err := store.Acquire(ctx, image.Request{Ref: ref, Policy: policies[s.Pull], Local: ref == s.DefaultImage || ref == spec.ImageHost, Gently: worker.IsAhead(ctx)}, func(p image.Progress) {
		say(p.Text, p.Done, p.Total)
	})
	if image.Transient(err) {
		err = worker.Infrastructure(err)
	}
	if err != nil {
		return nil, err
	}
	return &worker.Image{
		Ref: l.Ref, Digest: l.Digest, ID: l.Digest, Layers: l.Layers, Env: l.Config.Env, User: l.Config.User, StopSignal: l.Config.StopSignal,
		Leases: lo.Compact([]*os.File{l.File()}), Close: l.Close, Shifted: i.shifted,
	}, nil
}

// Add leases a layer that is made on this host for an image.
func (i *images) Add(ctx context.Context, img *worker.Image, s spec.Sandbox, ids runtime.IDRange, what string, waiting func(), make func(context.Context, string, *os.File) error) (*worker.Layer, error) {
	store, err := i.open(s)
	if err != nil {
		return nil, err
	}
	l, err := store.Add(ctx, image.Addition{Digest: img.Digest, What: what, Base: ids.Base, Size: ids.Size, Make: make, Waiting: waiting})
	if err != nil {
		return nil, err
	}
	return &worker.Layer{Folder: l.Folder, Bytes: l.Bytes, Hit: l.Hit, Lease: l.File(), Close: l.Close}, nil
}

// Collect removes images beyond the limits.
func (i *images) Collect(ctx context.Context, s spec.Sandbox, minFree int64) (removed int, freed int64, err error) {
	if _, err := os.Lstat(filepath.Join(i.state, "images")); errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil // there never was one
	}
	store, err := i.open(s)
	if err != nil {
		return 0, 0, err
	}
	done, err := store.Collect(ctx, imageKeep(s, minFree))
	return len(done.Removed), done.Freed, err
}

// imageKeep are the limits of a spec in the words of the store; minFree holds where it
// names no free space of its own.
func imageKeep(s spec.Sandbox, minFree int64) image.Keep {
	return image.Keep{Bytes: int64(s.Images.MaxSize), Free: cmp.Or(int64(s.Images.MinFree), minFree), Age: time.Duration(s.Images.MaxAge)}
}

// open gives the store for settings.
func (i *images) open(s spec.Sandbox) (*image.Store, error) {
	want := spec.Sandbox{CredentialsFile: s.CredentialsFile, Registries: s.Registries, IDs: s.IDs}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.store != nil && reflect.DeepEqual(want, i.settings) {
		return i.store, nil
	}
	opts, err := storeOptions(want, i.log)
	if err == nil && i.shifted {
		err = inRange(&opts, i.state, s.IDs)
	}
	if err != nil {
		return nil, err
	}
	store, err := image.Open(filepath.Join(i.state, "images"), opts)
	if err != nil {
		return nil, err
	}
	err = i.closeStore()
	i.store, i.settings = store, want
	return store, err
}

// close gives the store up; what is leased stays so.
func (i *images) close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.closeStore()
}

func (i *images) closeStore() error {
	if i.store == nil {
		return nil
	}
	store := i.store
	i.store = nil
	return store.Close()
}

// storeOptions are those of a store for what node.yaml says of registries.
func storeOptions(s spec.Sandbox, log *slog.Logger) (image.Options, error) {
	o := image.Options{Log: log, Credentials: s.CredentialsFile, Mirrors: map[string][]string{}, Rootless: os.Geteuid() != 0}
	for _, r := range s.Registries {
		if r.Insecure {
			o.Insecure = append(o.Insecure, r.Name)
		}
		for _, m := range r.Mirrors {
			host, plain := strings.CutPrefix(m, "http://")
			o.Mirrors[r.Name] = append(o.Mirrors[r.Name], strings.TrimPrefix(host, "https://"))
			if name, _, _ := strings.Cut(host, "/"); plain {
				o.Insecure = append(o.Insecure, name)
			}
		}
		if r.CAFile == "" {
			continue
		}
		certificates, err := readCertificates(r.CAFile)
		if err != nil {
			return o, fmt.Errorf("cannot use the certificates for %s: %w", r.Name, err)
		}
		o.CAs = append(o.CAs, certificates...)
	}
	o.Insecure = lo.Uniq(o.Insecure)
	return o, nil
}
