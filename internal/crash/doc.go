// Package crash names the steps at which a process may die, so that a test can
// kill it there.
//
// Built with the tag crashpoints, Point kills the process with SIGKILL when
// AGENTCTL_CRASH_AT holds the point's name, or "name#3" for its third pass.
// AGENTCTL_CRASH_TRACE names a file to which each passed point is added.
// Without the tag it does nothing and costs nothing. It is a leaf and knows no
// step by itself: a name stands where it is used, as "area.step".
package crash
