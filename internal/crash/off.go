//go:build !crashpoints

package crash

// Point does nothing in a build without the tag crashpoints.
func Point(string) {}
