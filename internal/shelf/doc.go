// Package shelf owns a folder of entries that are made once, by content key, and
// leased to many: the locks, the markers, the sweep after a crash, the last
// use and the collection. What an entry holds, and how it is made, is the
// caller's.
//
// An entry KEY is the folder DIR/KEY and the record DIR/KEY.json. It is whole
// if both are there and neither DIR/KEY.partial (a making or a removal is under
// way) nor DIR/KEY.dirty (it is not to be leased any more) is. An entry in doubt has
// its record by the name DIR/KEY.doubt, until somebody who examined it trusts it.
//
// Lock order: the lock of a key, then the guard (of the caller's own files in the
// folder), then nothing. Who holds the guard, or the lock of a collection, takes locks
// of keys only if they are free.
//
// Nothing but the making of an entry needs room on the disk: on a full one entries are
// leased, thrown away and removed as ever.
//
// Crash points, with the shelf's name in front: locked, swept, marked, made,
// recorded, synced, published, leased; remove.marked, remove.moved,
// remove.forgotten; doubted, trusted. Whatever the point, the next holder of the key's lock, or
// the next Open, finds either a whole entry or a marker that says what to undo.
package shelf
