// Package unpack turns the tar stream of one image layer into a folder that
// overlayfs takes as a lower one: whiteouts are character devices 0:0, opaque
// folders carry the xattr for it.
//
// The stream is hostile. What exists in the folder is kept in memory, so links of
// the layer are resolved there, as a chroot would, and the kernel is never asked to
// follow one: folders are opened from the top by openat2 without links, all else is
// made by name in such a folder. One goroutine reads the stream and makes folders and
// hard links, others write the files; the files of one folder stay in order.
//
// Beside the folder it can write a recipe, from which the very bytes of the stream
// are put together again.
package unpack
