// Package spec owns node.yaml: its types, defaults, strict decoding with
// positions, validation, expansion into workers and the JSON schema.
//
// A document goes through these steps, each a function of its own:
//
//	Decode    text → Node, or every fault at once, each with its position
//	Validate  the faults of a Node that no type can express (part of Decode)
//	Default   what is left out gets its value; the one place for defaults
//	Expand    Node → one Worker per slot, every setting resolved
//	Diff      what changes between two Nodes, and what each change waits for
//	Encode    Node → text that Decode reads back to the same Node
//
// What a field means stands in its comment in types.go or typesenv.go; what it
// may hold and when a change of it takes effect stands in the table in rules.go.
// The JSON schema and docs/node-yaml.md are generated from both.
//
// The package is pure: it reads no file, no clock and no environment, and it
// imports nothing of agentctl. It must not know who watches a file, who runs a
// worker or what protocol a server speaks. Documents are hostile: size, depth,
// aliases and work are limited, and no text of a document reaches a message
// unquoted, nor a password of a URL any message at all.
package spec
