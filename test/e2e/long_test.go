//go:build long

package e2e_test

// long: take the time that it takes.
const long = true
