//go:build long

package envcache

// killings is how many times two agents are killed at random.
const killings = 400
