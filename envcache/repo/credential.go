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
	user, password := l.pair()
	if _, err := fmt.Fprintf(f, "username=%s\npassword=%s\n", user, password); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot pass credentials to git: %w", err)
	}
	return f, nil
}

// pair are the user and the password that git gets.
func (l *login) pair() (user, password string) {
	if l.Password == "" {
		return "x-oauth-basic", l.User // a token alone
	}
	return l.User, l.Password
}

// variables put the credentials into git's environment, and options make it ask there:
// for a box, which passes no descriptors on. Nobody but git and what it starts can see
// them in it.
func (l *login) variables() (env, options []string, err error) {
	if strings.ContainsAny(l.User+l.Password, "\n\r\x00") {
		return nil, nil, fmt.Errorf("the credentials for %s hold a line break", l.origin)
	}
	user, password := l.pair()
	const ask = `!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$AGENTCTL_GIT_USER" "$AGENTCTL_GIT_PASSWORD"; }; f`
	return []string{"AGENTCTL_GIT_USER=" + user, "AGENTCTL_GIT_PASSWORD=" + password}, l.helper(ask), nil
}

// options are those of git that make it ask the descriptor, and only for the
// scheme, host and port that the credentials are for: a redirect, a submodule
// or an LFS server elsewhere gets nothing. The descriptor is opened anew each
// time, since git asks more than once.
func (l *login) options(fd int) []string {
	ask := fmt.Sprintf(`!f() { test "$1" = get && cat /proc/self/fd/%d; }; f`, fd)
	return l.helper(ask)
}

func (l *login) helper(ask string) []string {
	return []string{"-c", "credential." + l.origin + ".helper=", "-c", "credential." + l.origin + ".helper=" + ask}
}
