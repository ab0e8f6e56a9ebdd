// Package vm runs tests of sandboxes on a kernel with cgroup v2 alone, which the
// machine that runs the tests may not be: user-mode Linux, a kernel as a program,
// with the host's file system, read-only, as its own. Its kernel (6.1) is also
// older than most, so that the ways around what it lacks are walked.
package vm
