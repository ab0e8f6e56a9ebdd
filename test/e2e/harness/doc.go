// Package harness runs the real program for end-to-end tests: an agent built from
// this tree, with a state folder, a socket and server ports of its own, driven by
// its command line and by ClearML's protocol, as its users do.
//
// It must not reach into the agent's memory, and of its files it reads only those
// that the documents name. All that it starts ends with the test.
package harness
