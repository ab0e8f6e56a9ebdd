// Package bench measures agentctl beside what it replaces, on this machine and in
// one run, because only ratios travel between machines: the time from enqueuing a
// task to the first line of its code, warm and cold, and what waiting for tasks
// costs, each for agentctl and for the real clearml-agent, on the same server with
// the same task. `just bench` runs it; its numbers go to .cache/bench as a table and
// a plot.
package bench
