//go:build !long

package e2e_test

// long is set by the build tag of the same name: `just test-long`.
const long = false
