// Package migrate tells what becomes of clearml-agent 3.0.3 here: of each of its
// flags, keys of clearml.conf, variables and behaviours. One table says it (Rows);
// the translation is keyed by it, docs/migrating.md is made of it, and its tests go
// through it row by row.
//
//	Node         a resolved clearml.conf and variables → a commented node.yaml, the
//	             secrets that belong into files of their own, and a note on every key
//	Environment  the variables alone → a NodePatch that is laid over node.yaml while
//	             an agent runs with them
//
// The package is pure: it reads no file and no environment, writes nothing, and
// parses no HOCON. Values are hostile only by accident, but may be of any shape:
// whatever node.yaml can't hold is reported, with the reason, and never refuses the
// rest. Values of secrets are in Secrets and nowhere else.
package migrate
