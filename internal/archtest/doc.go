// Package archtest holds the tests of what no compiler checks: who may import whom,
// that no file names a place of the machine it was written on, and that the links
// of the documents lead somewhere. It has no code of its own.
package archtest
