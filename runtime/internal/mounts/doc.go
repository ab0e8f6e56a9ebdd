// Package mounts owns a task's view of the file system: overlays at the paths of
// the folders they cover, folders shown empty, and what stays visible in them.
//
// All of it happens on one locked OS thread whose mount namespace is its own;
// processes forked from that thread have the view. The package must not know
// what the folders hold.
package mounts
