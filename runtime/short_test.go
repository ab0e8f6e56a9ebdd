//go:build !long

package runtime

// races is how many times each race against a sandbox is run; more with the build
// tag long.
const races = 4
