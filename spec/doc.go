// Package spec owns node.yaml: its types, defaults, strict decoding with
// positions, validation, expansion into workers and the JSON schema.
//
// It is pure: it reads no file, no clock and no environment, and it imports
// nothing of agentctl. It must not know who watches a file, who runs a worker
// or what protocol a server speaks.
package spec
