// Package repo owns what a task runs from: mirrors of git repositories, and
// checkouts by commit with submodules, LFS files and the uncommitted diff.
//
// It speaks to git by its command line only, and it must not know ClearML,
// tasks or environments. URLs, refs, diffs and all that is in a repository are
// hostile; how git is kept in check stands in git.go.
//
// # Mirror and checkout
//
// A mirror is a bare copy of a remote, one per URL, that is fetched into when a
// commit is not there yet. Its folder is an entry of a shelf; inside, the lock
// is held exclusively by who fetches and shared by who clones from it, and the
// file busy says that a fetch was begun and not finished.
//
// A checkout is an entry of another shelf. Its key covers the URL, the commit,
// the diff and the owner, so a task that brings a full commit id finds it
// without git and without the network. It has a .git of its own, whose objects
// are hard links into the mirror: tasks get it through an overlay, or as a
// copy (Copy), never to write to.
//
// # On disk
//
//	STATE/repos/gitconfig                 settings that bind every git we start
//	STATE/repos/mirrors/KEY/repo.git      of one URL
//	STATE/repos/mirrors/KEY/lock, busy
//	STATE/repos/checkouts/KEY/            the working tree
package repo
