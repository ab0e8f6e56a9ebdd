package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

type callerKey struct{}

// Caller is the user on the other end of the socket, as the kernel knows it; "" if
// ctx is of no request.
func Caller(ctx context.Context) string {
	cred, ok := ctx.Value(callerKey{}).(*unix.Ucred)
	if !ok {
		return ""
	}
	return caller(cred)
}

// withCaller notes who has opened a connection. Names are looked up later: that may
// take long, and nobody else could connect meanwhile.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, cred)
}

// unset is the login of a process that nobody logged in for.
const unset = "4294967295"

// caller names a user, and who has logged in where that is another: behind sudo
// everybody is root.
func caller(cred *unix.Ucred) string {
	uid := strconv.FormatUint(uint64(cred.Uid), 10)
	who := userName(uid)
	login, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", cred.Pid))
	if id := strings.TrimSpace(string(login)); err == nil && id != uid && id != unset && id != "" {
		who += ", logged in as " + userName(id)
	}
	return who
}

func userName(uid string) string {
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return "uid " + uid
}
