// Package talk owns what a child program says: it turns the bytes of a program
// into clean lines, keeps the last ones for an error message, and notices when
// a program falls silent.
//
// It must not know which program speaks.
package talk
