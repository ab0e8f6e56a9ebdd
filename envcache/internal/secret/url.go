package secret

import (
	"net/url"
	"regexp"
	"strings"
)

// Login is a user name and a password. Either may be empty.
type Login struct{ User, Password string }

// Empty tells that there is nothing in it.
func (l Login) Empty() bool { return l == Login{} }

// authority is the part of a URL that can carry credentials. The user part goes
// to the last @ before the path, since an unescaped @ in a password is common.
var authority = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)@([^/?#@]*)(.*)$`)

// SplitURL takes the credentials out of a URL. Over ssh the user is no secret,
// it is part of the address and stays; a password goes. What is no URL comes
// back as it is.
func SplitURL(raw string) (clean string, login Login) {
	m := authority.FindStringSubmatch(raw)
	if m == nil {
		return raw, Login{}
	}
	user, password, _ := strings.Cut(m[2], ":")
	if strings.Contains(strings.ToLower(m[1]), "ssh") {
		return m[1] + user + "@" + m[3] + m[4], Login{Password: unescape(password)}
	}
	return m[1] + m[3] + m[4], Login{User: unescape(user), Password: unescape(password)}
}

func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// Host is the host of a URL without port, in lower case; "" if there is none.
func Host(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
