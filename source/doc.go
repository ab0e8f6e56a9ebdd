// Package source owns where the node's spec comes from: the recorded source, what
// was accepted from it, and the following of a file, a folder or a git repository.
// It owns STATE/spec:
//
//	source.json          which source, who named it (apply, or the agent's flags), and
//	                     whether an operator lets it have no say (Suspension)
//	git/                 bare copies of followed repositories; may be removed
//	pinned-DIGEST.yaml   the text of a pinned source
//	revisions/N.yaml     an accepted text …
//	revisions/N.json     … and what is known of it; written last, it makes N count
//	contributed/ID.json  workers that a command adds to those of the source, until it
//	                     takes them away (Contribution)
//	older.json           which fields the revisions changed that are not kept any more
//
// What is accepted is the text of the source with layers over it, which are patches:
// those of the options, and what was contributed. The source's part of a revision is
// told apart, so that a rollback is to a text of the source.
//
// There is one source at a time. A file, a folder or a repository is followed:
// whatever it holds next is handed on, or why it can't be read. What a server sends
// is hostile: sizes are bounded and judged before anything unfolds, and no file of a
// commit ever comes to be. A pinned text stays until another source is
// named. A restart keeps the recorded source.
//
// Manager is for one process at a time, the holder of the agent's lock. The package
// imports spec to refuse a source whose text is not valid; it must not know what
// becomes of a spec, or who acts on it.
package source
