//go:build !long

package envcache

// killings is how many times two agents are killed at random; more with the build
// tag long.
const killings = 25
