// Package secret owns the handling of credentials in text: it takes them out of
// URLs, finds them in netrc files and removes them from what people read.
//
// It is a leaf. It must not know git, pip or what a credential is for.
package secret
