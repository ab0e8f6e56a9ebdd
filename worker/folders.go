package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"agentctl/runtime"
)

// Folders of one task below STATE/tasks/ID:
//
//	record.jsonl  what the agent must know after a crash
//	key.json      what the key of its environment is made of
//	console, run.json, handle.json, exit.json, …  the shim's (package runtime)
//	installed.json  the packages that it runs with, to be reported
//	netrc         credentials that the spec hands to it
//	cursor.json   how far the console is on the server
//	home/ tmp/    the task's own, gone after its end
//	code/         the code of a task without a repository
//	upper/        what the task wrote into its environment and checkout
//	script/       the text of a script that has no repository, to be read
//	project/      metadata and programs of the repository's project
//	env/ checkout/  its own, where they can't be mounted
type folders struct{ root string }

func (f folders) home() string  { return filepath.Join(f.root, "home") }
func (f folders) tmp() string   { return filepath.Join(f.root, "tmp") }
func (f folders) code() string  { return filepath.Join(f.root, "code") }
func (f folders) upper() string { return filepath.Join(f.root, "upper") }
func (f folders) child() string { return filepath.Join(f.root, "env") }

func (f folders) project() string { return filepath.Join(f.root, "project") }

func (f folders) script() string { return filepath.Join(f.root, "script") }

func (f folders) checkout() string { return filepath.Join(f.root, "checkout") }

// create makes a fresh folder for a run of the task; what an earlier run of the
// same task left is removed, since that run has been reported.
func (f folders) create() error {
	if err := runtime.RemoveAll(f.root); err != nil {
		return fmt.Errorf("cannot clear the task's folder: %w", err)
	}
	// The task's user must pass through to home/, but not list it.
	if err := os.MkdirAll(f.root, 0o711); err != nil {
		return fmt.Errorf("cannot create the task's folder: %w", err)
	}
	return nil
}

// createPrivate makes the folders that belong to the task.
func (f folders) createPrivate(owner identity) error {
	for _, dir := range []string{f.home(), f.tmp(), f.code()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("cannot create the task's folder: %w", err)
		}
		if err := owner.chown(dir); err != nil {
			return fmt.Errorf("cannot create the task's folder: %w", err)
		}
	}
	return nil
}

// own lists the folders that are to be the task's own, with what was put into the
// upper ones of its overlays.
func (f folders) own(overlays []runtime.Overlay) []string {
	all := []string{f.home(), f.tmp(), f.code(), f.project()}
	for _, o := range overlays {
		if o.Upper != "" {
			all = append(all, o.UpperDir())
		}
	}
	return slices.DeleteFunc(all, func(dir string) bool { return !exists(dir) })
}

// removePrivate drops what only the running task needed, but for keep; record and
// console stay.
func (f folders) removePrivate(keep ...string) error {
	for _, dir := range []string{
		f.home(), f.tmp(), f.code(), f.upper(), f.child(), f.checkout(), f.project(), f.script(),
		filepath.Join(f.root, netrcFile), filepath.Join(f.root, setupFolder), filepath.Join(f.root, certificatesFolder),
	} {
		if slices.Contains(keep, dir) {
			continue
		}
		if err := runtime.RemoveAll(dir); err != nil {
			return fmt.Errorf("cannot remove the task's folder: %w", err)
		}
	}
	return nil
}
