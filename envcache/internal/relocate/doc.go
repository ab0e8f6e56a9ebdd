// Package relocate owns moving an environment to another path: an environment
// holds its own path in scripts, settings and, with conda, in programs.
//
// It changes what it knows how to change and refuses the rest by name, so that
// nothing that is moved still reaches for the old place. Bytecode stays as it
// is: Python takes the path of a module from where it finds it. RECORD stays as
// well: what it says is of the package as it was installed.
//
// The tree is hostile and may change at the same time. This package must not
// know what environments are for, nor which manager made one.
package relocate
