// Package image owns the container images of a node: it pulls them from
// registries, OCI layouts and archives, verifies every byte by digest, unpacks each
// layer once, leases images to sandboxes and collects what nobody uses.
//
// It knows no sandbox: a Lease is a list of folders and the image's configuration. It
// knows no spec either: registries, credentials and limits come as Options.
//
// On disk, below STATE/images (0700: a layer may hold setuid programs, which no user
// of the host is to reach):
//
//	layers/KEY/fs, layers/KEY/recipe   a layer, by the digest of its content
//	images/KEY/manifest, .../config    an image, by the digest of its manifest
//	refs/NAME.json                     which image a reference was, when it was last looked up
//	ids.json                           the id range of the node, for tools that open the store for its agent
//	boot                               the boot in which what has no mark yet was written
//
// layers and images are shelves (package shelf). The lock of an image is its lease;
// layers live as long as an image that is kept names them, or a pull holds them.
//
// An image is published before its bytes are on the disk; a mark (KEY.synced) follows
// once they are. What has no mark when the machine was started anew is thrown away,
// and so is every layer that no image names.
//
// Crash points: image.resolved, layer.begun, layer.unpacked, image.layers,
// image.written, image.named, image.flushed, collect.image, collect.layers, and those of the
// shelves "image" and "layer".
package image
