package netns

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"agentctl/internal/fsx"
)

// Prefix begins the names of the links of all agents on the host's side.
const Prefix = "agc"

// Characters of tags and ids. Expressions that are compiled would cost each start of
// a shim as much as all else that it brings with it.
const (
	inTags = "0123456789abcdefghijklmnopqrstuvwxyz"
	inIDs  = inTags + "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_."
)

func isTag(s string) bool { return s != "" && len(s) <= 5 && strings.Trim(s, inTags) == "" }
func isID(s string) bool  { return s != "" && len(s) <= 128 && strings.Trim(s, inIDs) == "" }

// Tag is the mark of an agent, of which its state folder is the owner's name: one
// agent must not take down what another has made.
func Tag(owner string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(owner))
	return fmt.Sprintf("%05x", h.Sum64()>>44)
}

// LinkPrefix begins the names of the links of one agent.
func LinkPrefix(tag string) string { return Prefix + tag + "-" }

// link is the host's end of a pair.
type link struct {
	netlink.Link
	n  int    // which pair of addresses it has
	id string // of the sandbox; "" for one whose maker died at once
}

// alias is what a link of a sandbox is marked with.
func alias(tag, id string) string { return "agentctl " + tag + " " + id }

// parse tells whether a link is one of this agent's. One that bears our name and
// another mark is somebody else's.
func parse(l netlink.Link, tag string) (link, bool) {
	number, ok := strings.CutPrefix(l.Attrs().Name, LinkPrefix(tag))
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || strconv.Itoa(n) != number || l.Type() != "veth" {
		return link{}, false
	}
	if l.Attrs().Alias == "" {
		return link{Link: l, n: n}, true
	}
	id, ok := strings.CutPrefix(l.Attrs().Alias, alias(tag, ""))
	return link{l, n, id}, ok && isID(id)
}

// links lists the links of this agent.
func links(h *netlink.Handle, tag string) ([]link, error) {
	all, err := whole(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("cannot list the network links: %w", err)
	}
	var found []link
	for _, l := range all {
		if l, ok := parse(l, tag); ok {
			found = append(found, l)
		}
	}
	return found, nil
}

// whole repeats a list that changed while the kernel gave it out.
func whole[T any](list func() (T, error)) (T, error) {
	got, err := list()
	for try := 0; try < 20 && errors.Is(err, netlink.ErrDumpInterrupted); try++ {
		got, err = list()
	}
	return got, err
}

// remove takes down a link, with it its other end. One that went by itself, since
// its sandbox ended, is as good.
func remove(h *netlink.Handle, l link) error {
	err := h.LinkDel(l)
	if err == nil || isGone(err) {
		return nil
	}
	return fmt.Errorf("cannot remove the link %s: %w", l.Attrs().Name, err)
}

// each calls do, under the lock, with a handle on the host's network.
func each(ctx context.Context, p Pool, do func(h *netlink.Handle, own []link) error) error {
	if !isTag(p.Tag) {
		return fmt.Errorf("cannot use %q as the mark of an agent", p.Tag)
	}
	lock, err := fsx.WaitLock(ctx, p.Lock)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	h, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("cannot speak to the kernel about networks: %w", err)
	}
	defer h.Close()
	own, err := links(h, p.Tag)
	if err != nil {
		return err
	}
	return do(h, own)
}

// Remove takes down the network of a sandbox. Where there is none it does nothing.
func Remove(ctx context.Context, p Pool, id string) error {
	_, err := sweep(ctx, p, func(of string) bool { return of != id })
	return err
}

// Sweep takes down the networks of this agent whose sandboxes don't live, and says
// whose they were; "" is one whose maker died before it was marked.
func Sweep(ctx context.Context, p Pool, live func(id string) bool) ([]string, error) {
	return sweep(ctx, p, func(id string) bool { return id != "" && live(id) })
}

func sweep(ctx context.Context, p Pool, keep func(id string) bool) ([]string, error) {
	var removed []string
	err := each(ctx, p, func(h *netlink.Handle, own []link) error {
		var errs []error
		for _, l := range own {
			if keep(l.id) {
				continue
			}
			if err := remove(h, l); err != nil {
				errs = append(errs, err)
				continue
			}
			removed = append(removed, l.id)
		}
		return errors.Join(errs...)
	})
	return removed, err
}
