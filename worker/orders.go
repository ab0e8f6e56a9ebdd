package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"

	"agentctl/internal/fsx"
	"agentctl/reconcile"
)

// orders are the operator's words on workers. They are on disk, since an order can't
// be observed again: a restart must not put a machine that is under maintenance to
// work, nor forget when a task is to be put back.
type orders struct {
	Version int `json:"version"`
	// Boot is the one in which the newest order was given.
	Boot string `json:"boot,omitempty"`
	// Node holds for the whole node, workers of the future too.
	Node *reconcile.Order `json:"node,omitempty"`
	// Workers by name; they go before that of the node.
	Workers map[string]*reconcile.Order `json:"workers,omitempty"`
}

// of is the order that holds for a worker, nil if none does.
func (o orders) of(worker string) *reconcile.Order {
	if own := o.Workers[worker]; own != nil {
		return own
	}
	return o.Node
}

// ordered is the order that holds for a worker now, nil if none does. The mutex is held.
func (p *Pool) ordered(worker string) *reconcile.Order {
	if p.leaving != nil {
		return p.leaving
	}
	return p.orders.of(worker)
}

// Leave gives all workers an order that ends with this process; nil takes it back.
func (p *Pool) Leave(order *reconcile.Order) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving = order
	p.stir()
	hint(p.changed)
}

// errLeaving refuses what an agent is asked for that is about to end.
var errLeaving = errors.New("the agent is about to end; ask again")

func (p *Pool) ordersFile() string { return filepath.Join(p.cfg.State, "orders.json") }

func (p *Pool) loadOrders() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := fsx.ReadJSON(p.ordersFile(), &p.orders)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && p.orders.Version > 1 {
		err = fmt.Errorf("cannot read %s: it is of version %d, written by a newer agentctl", p.ordersFile(), p.orders.Version)
	}
	if o := p.orders.Node; err == nil && o != nil && o.UntilReboot && p.orders.Boot != boot() {
		p.cfg.Log.Info("the machine was started again: its workers take tasks", "reason", o.Reason)
		p.orders.Node = nil // the file is as good: it is of an earlier boot
	}
	return err
}

// boot names this start of the machine; "" if that can't be told.
func boot() string { return strings.TrimSpace(readText("/proc/sys/kernel/random/boot_id")) }

// Order gives a worker an operator's order, or takes it back with nil; with an empty
// name the whole node, which includes workers that come later. It is on disk when
// Order returns, and in force.
func (p *Pool) Order(name string, order *reconcile.Order) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name != "" && p.workers[name] == nil {
		return fmt.Errorf("cannot give the worker %s an order: there is none of that name", name)
	}
	next := p.orders.with(name, order)
	if order == nil && name != "" && p.orders.Node != nil {
		// One worker of a node that is out of service: the others stay so.
		next.Node = nil
		for other := range p.workers {
			if other != name && next.Workers[other] == nil {
				next.Workers[other] = p.orders.Node
			}
		}
	}
	if err := fsx.WriteJSON(p.ordersFile(), next, 0o600); err != nil {
		return fmt.Errorf("cannot record the order: %w", err)
	}
	p.orders = next
	p.stir()
	hint(p.changed)
	return nil
}

// with returns the orders after one more.
func (o orders) with(name string, order *reconcile.Order) orders {
	next := orders{Version: 1, Boot: boot(), Node: o.Node, Workers: map[string]*reconcile.Order{}}
	if name == "" {
		next.Node = order
		return next // the node's order replaces those of its workers
	}
	maps.Copy(next.Workers, o.Workers)
	delete(next.Workers, name)
	if order != nil {
		next.Workers[name] = order
	}
	return next
}
