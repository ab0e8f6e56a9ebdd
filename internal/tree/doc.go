// Package tree owns what is done to whole folders whose content is hostile and
// may change at the same time: walking, copying, giving away, removing.
//
// All of it goes through folder descriptors (os.Root), so that a symbolic link
// that somebody puts in the way never leads out of the tree. It must not know
// what a tree holds.
package tree
