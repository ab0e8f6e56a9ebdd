//go:build long

package server

// stormTasks is how many tasks the storm has.
const stormTasks = 5000
