//go:build !long

package server

// stormTasks is how many tasks the storm has: fewer than `just test-long` takes.
const stormTasks = 600
