package repo

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// file puts the credentials into a file without a name, that only who inherits
// its descriptor can read: not in argv, not in the environment, not on disk.
func (l *login) file() (*os.File, error) {
	if strings.ContainsAny(l.User+l.Password, "\n\r\x00") {
		return nil, fmt.Errorf("the credentials for %s hold a line break", l.origin)
	}
	fd, err := unix.MemfdCreate("git-credentials", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot pass credentials to git: %w", err)
	}
	f := os.NewFile(uintptr(fd), "git-credentials")
	user, password := l.User, l.Password
	if password == "" {
		user, password = "x-oauth-basic", l.User // a token alone
	}
	if _, err := fmt.Fprintf(f, "username=%s\npassword=%s\n", user, password); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot pass credentials to git: %w", err)
	}
	return f, nil
}

// options are those of git that make it ask the descriptor, and only for the
// scheme, host and port that the credentials are for: a redirect, a submodule
// or an LFS server elsewhere gets nothing. The descriptor is opened anew each
// time, since git asks more than once.
func (l *login) options(fd int) []string {
	ask := fmt.Sprintf(`!f() { test "$1" = get && cat /proc/self/fd/%d; }; f`, fd)
	return []string{"-c", "credential." + l.origin + ".helper=", "-c", "credential." + l.origin + ".helper=" + ask}
}
