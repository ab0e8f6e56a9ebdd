package spec

import (
	"fmt"
	"path"
	"reflect"
	"strings"
)

// mode tells of settings that the mode of a group makes no use of.
func (d *decoder) mode(g *WorkerSpec, at string) {
	d.targets(g.Sandbox.Arguments.Mounts, at+".sandbox")
	if d.failed[at+".mode"] {
		return
	}
	for _, f := range []struct {
		key, mode string
		written   bool
	}{
		{"image", ModeSandbox, g.Image != ""}, {"sandbox", ModeSandbox, !reflect.ValueOf(g.Sandbox).IsZero()},
		{"resources", ModeSandbox, g.Resources != Resources{}}, {"runAs", ModeVenv, g.RunAs != ""},
	} {
		if sandbox := g.Mode == ModeSandbox; f.written && sandbox != (f.mode == ModeSandbox) {
			d.semantic(at+"."+f.key, SeverityWarning, "has no effect without mode: "+f.mode, "write mode: "+f.mode+" or delete it")
		}
	}
}

// sandbox checks what concerns several fields.
func (d *decoder) sandbox(s *Sandbox) {
	size := s.IDs.Size
	set(&size, DefaultIDs)
	if s.IDs.Base > 0 && s.IDs.Base <= maxID && size > 0 && size <= maxID && s.IDs.Base+size-1 > maxID {
		d.semantic("spec.sandbox.ids", SeverityError, fmt.Sprintf("ends at %d", s.IDs.Base+size-1), fmt.Sprintf("write a range that ends at %d at most", maxID))
	}
	names := once{d, "the registry", map[string]string{}}
	for i, r := range s.Registries {
		names.check(fmt.Sprintf("spec.sandbox.registries[%d].name", i), r.Name)
	}
	d.targets(s.Arguments.Mounts, "spec.sandbox")
}

// targets finds mounts of which one would hide the other.
func (d *decoder) targets(mounts []HostMount, of string) {
	targets := once{d, "the target", map[string]string{}}
	for i, m := range mounts {
		at, target := fmt.Sprintf("%s.arguments.mounts[%d].target", of, i), m.Target
		if target == "" {
			at, target = strings.TrimSuffix(at, "target")+"source", m.Source
		}
		if target != "" {
			targets.check(at, path.Clean(target))
		}
	}
}

// once finds what may be there only once.
type once struct {
	d    *decoder
	what string
	seen map[string]string
}

func (o once) check(at, value string) {
	if value == "" || o.d.failed[at] {
		return
	}
	if first, twice := o.seen[value]; twice {
		o.d.semantic(at, SeverityError, fmt.Sprintf("%s is %s of %s already", quote(value), o.what, first), "delete one of them")
		return
	}
	o.seen[value] = at
}
