// Package fsx owns the few file-system moves that must not go wrong: atomic and
// durable writes, locks over processes, paths that stay inside a folder.
//
// It is a leaf. It must not know what is written.
package fsx
