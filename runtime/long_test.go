//go:build long

package runtime

// races is how many times each race against a sandbox is run.
const races = 300
