// Package contain owns the finding and ending of all processes of a task: by
// cgroup v2, by a v1 freezer cgroup, and by looking through /proc.
//
// Shim and agent use it, the agent only to sweep what a killed shim left. It
// must not know what a task is.
package contain
