// Package repo owns what a task runs from: mirrors of git repositories,
// checkouts by commit with submodules, LFS files and the uncommitted diff.
//
// It speaks to git by its command line only, and it must not know ClearML,
// tasks or environments. URLs, refs, diffs and all that is in a repository are
// hostile.
package repo
