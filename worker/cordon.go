package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"agentctl/internal/fsx"
)

// cordons are the operator's orders to take no task. They are on disk, since an
// order can't be observed again: a restart must not put a machine that is under
// maintenance to work.
type cordons struct {
	Version int `json:"version"`
	// Node is set when the whole node was cordoned, workers of the future too.
	Node bool `json:"node"`
	// Workers by name.
	Workers map[string]bool `json:"workers,omitempty"`
}

func (c cordons) hold(worker string) bool { return c.Node || c.Workers[worker] }

func (p *Pool) cordonFile() string { return filepath.Join(p.cfg.State, "cordons.json") }

func (p *Pool) loadCordons() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := fsx.ReadJSON(p.cordonFile(), &p.cordons)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Cordon lets the worker take no further task, or take tasks again; with an empty
// name the whole node, which includes workers that come later. It is on disk when
// Cordon returns, and in force.
func (p *Pool) Cordon(name string, on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name != "" && p.workers[name] == nil {
		return fmt.Errorf("cannot cordon the worker %s: there is none of that name", name)
	}
	next := p.cordons.with(name, on)
	if !on && name != "" && p.cordons.Node {
		// One worker of a cordoned node: the others stay cordoned.
		next.Node = false
		for other := range p.workers {
			if other != name {
				next.Workers[other] = true
			}
		}
	}
	if err := fsx.WriteJSON(p.cordonFile(), next, 0o600); err != nil {
		return fmt.Errorf("cannot record the cordon: %w", err)
	}
	p.cordons = next
	p.stir()
	hint(p.changed)
	return nil
}

// with returns the orders after one more.
func (c cordons) with(name string, on bool) cordons {
	next := cordons{Version: 1, Node: c.Node, Workers: map[string]bool{}}
	if name == "" {
		next.Node = on
		return next // the node's order replaces those of its workers
	}
	for w := range c.Workers {
		next.Workers[w] = true
	}
	delete(next.Workers, name)
	if on {
		next.Workers[name] = true
	}
	return next
}
