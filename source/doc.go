// Package source owns where the node's spec comes from: the recorded source, the
// accepted revisions on disk, and the watching of a file.
//
// There is one source at a time: a file, or a pinned text. STATE/spec holds
//
//	source.json       which one, and who said so (apply, or the agent's flags)
//	revisions/N.json  the accepted specs, oldest dropped beyond a bound; the last
//	                  is what the node falls back to
//
// It must not judge a spec: it reads bytes and says when they may have changed.
package source
