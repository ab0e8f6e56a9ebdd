package secret

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Mask stands where a secret was.
const Mask = "****"

// shortest is the length below which a secret is not looked for by itself: it
// would mask half of every line. In URLs it is masked all the same.
const shortest = 4

// Redactor removes known secrets, and credentials in URLs, from text. The zero
// value is ready; it may be used by many goroutines at once.
type Redactor struct {
	mu    sync.RWMutex
	words []string
}

// Add makes the redactor know the secrets of a login, in the spellings they
// have in URLs and in HTTP headers.
func (r *Redactor) Add(l Login) {
	r.add(l.Password, url.PathEscape(l.Password), url.QueryEscape(l.Password), url.UserPassword("", l.Password).String())
	if l.Password == "" {
		r.add(l.User, url.PathEscape(l.User)) // a token in the place of the user
	}
	if !l.Empty() {
		r.add(base64.StdEncoding.EncodeToString([]byte(l.User + ":" + l.Password)))
	}
}

func (r *Redactor) add(words ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range words {
		if len(w) >= shortest && !slices.Contains(r.words, w) {
			r.words = append(r.words, w)
		}
	}
	// The longest first: a secret may hold another one.
	slices.SortFunc(r.words, func(a, b string) int { return len(b) - len(a) })
}

// Finds tells whether a known secret is in text.
func (r *Redactor) Finds(text []byte) bool {
	if r == nil {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.ContainsFunc(r.words, func(w string) bool { return bytes.Contains(text, []byte(w)) })
}

var inURL = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^/\s?#'"<>]+)@`)

// Redact gives s without secrets.
func (r *Redactor) Redact(s string) string {
	if r != nil {
		r.mu.RLock()
		for _, w := range r.words {
			s = strings.ReplaceAll(s, w, Mask)
		}
		r.mu.RUnlock()
	}
	return RedactURLs(s)
}

// RedactURLs masks the credentials of each URL in s. The user of an ssh
// address stays.
func RedactURLs(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	return inURL.ReplaceAllStringFunc(s, func(match string) string {
		m := inURL.FindStringSubmatch(match)
		if strings.Contains(strings.ToLower(m[1]), "ssh") && !strings.Contains(m[2], ":") {
			return match
		}
		return m[1] + Mask + "@"
	})
}
