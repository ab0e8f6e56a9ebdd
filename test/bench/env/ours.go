package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"agentctl/envcache"
)

// ours is agentctl with one manager: the very cache that its agent uses.
type ours struct {
	place   *place
	manager string
	state   string
	cache   *envcache.Cache
	round   int
}

func (o *ours) name() string { return "agentctl/" + o.manager }

// shared folders of all rounds: the private managers, which are fetched once in
// a host's life, and the downloads.
func (o *ours) shared(name string) string {
	return filepath.Join(o.place.dir, "ours-"+o.manager+"-"+name)
}

// clear opens the cache anew, as an agent does once in its life.
func (o *ours) clear(fresh bool) error {
	o.round++
	if fresh {
		if err := os.RemoveAll(o.shared("cache")); err != nil {
			return err
		}
	}
	return o.open()
}

func (o *ours) build(ctx context.Context, s set) error {
	lease, err := o.acquire(ctx, s)
	if err != nil {
		return err
	}
	if lease.Hit {
		return errors.New("the environment was there already")
	}
	return lease.Close()
}

// open gives the cache a new state folder, with the shared folders in it.
func (o *ours) open() error {
	if o.state != "" {
		if err := os.RemoveAll(filepath.Join(o.state, "envs")); err != nil {
			return err
		}
	}
	o.state = filepath.Join(o.place.dir, fmt.Sprintf("%s%d", o.manager[:2], o.round))
	if err := os.MkdirAll(o.state, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"tools", "cache"} {
		if err := errors.Join(os.MkdirAll(o.shared(name), 0o755), os.Symlink(o.shared(name), filepath.Join(o.state, name))); err != nil {
			return err
		}
	}
	var err error
	o.cache, err = envcache.Open(o.state, envcache.Options{})
	return err
}

func (o *ours) request(ctx context.Context, s set) (envcache.Request, error) {
	req := envcache.Request{
		Manager: o.manager, Python: o.place.python, Requirements: s.packages,
		UID: envcache.SameUser, GID: envcache.SameUser,
	}
	if o.manager != envcache.ManagerPoetry {
		return req, nil
	}
	dir, err := o.place.project(ctx, s)
	req.Requirements, req.BaseDir = nil, dir
	req.Project = envcache.Project{Kind: envcache.ProjectPoetry, File: "poetry.lock"}
	return req, err
}

func (o *ours) acquire(ctx context.Context, s set) (*envcache.Lease, error) {
	req, err := o.request(ctx, s)
	if err != nil {
		return nil, err
	}
	return o.cache.Acquire(ctx, req, nil)
}

func (o *ours) hit(ctx context.Context, s set) (string, error) {
	lease, err := o.acquire(ctx, s)
	if err != nil {
		return "", err
	}
	if !lease.Hit {
		return "", errors.New("no hit")
	}
	return "hit", lease.Close()
}

// prepare fetches the manager itself.
func (o *ours) prepare(ctx context.Context, _ set) error {
	o.round++
	if err := o.open(); err != nil {
		return err
	}
	lease, err := o.acquire(ctx, set{name: "nothing"})
	if err != nil {
		return err
	}
	return lease.Close()
}
