package spec

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
)

// mode tells of settings that the mode of a group makes no use of.
func (d *decoder) mode(g *WorkerSpec, at string) {
	d.targets(g.Sandbox.Arguments.Mounts, at+".sandbox.arguments.mounts")
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
	d.targets(s.Arguments.Mounts, "spec.sandbox.arguments.mounts")
	for i, r := range s.Rules {
		at := fmt.Sprintf("spec.sandbox.rules[%d]", i)
		d.targets(r.Arguments.Mounts, at+".arguments.mounts")
		if _, written := d.at[at+".match"]; written && !d.failedBelow(at+".match") && reflect.ValueOf(r.Match).IsZero() {
			d.semantic(at+".match", SeverityError, "is empty, so that it would fit any task", "write what a task has to be; what all tasks get stands in spec.sandbox itself")
		}
	}
}

// failedBelow tells whether something at path, or below it, could not be read.
func (d *decoder) failedBelow(path string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(d.failed)), func(p string) bool { return strings.HasPrefix(p, path) })
}

// targets refuses two mounts at one place.
func (d *decoder) targets(mounts []HostMount, at string) {
	targets := once{d, "the target", map[string]string{}}
	for i, m := range mounts {
		key, target := "target", m.Target
		if target == "" {
			key, target = "source", m.Source
		}
		if target != "" {
			targets.check(fmt.Sprintf("%s[%d].%s", at, i, key), path.Clean(target))
		}
	}
}

// environment refuses a variable that is given in both ways.
func (d *decoder) environment(g *WorkerSpec, at string) {
	for i, name := range g.HostEnvironment {
		if _, both := g.Environment[name]; both {
			d.semantic(fmt.Sprintf("%s.hostEnvironment[%d]", at, i), SeverityError, quote(name)+" stands in environment already", "delete one of them")
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
