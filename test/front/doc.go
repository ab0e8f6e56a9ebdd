// Package front stands before the embedded server in tests of the agent.
//
// Upstream takes away what the embedded server does better than a ClearML Server of
// the community, by what was recorded of apiserver 2.3.0: no long polls, no tokens of
// tasks, no runtime properties; a task that was popped and stopped is started all the
// same, a popped task never comes back by itself, and any transition wipes a request to
// stop. Faults lets answers, or requests, come to grief, by a seed.
package front
