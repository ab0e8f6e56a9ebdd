//go:build cgo

#define _GNU_SOURCE
#include "capture.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct captured got;
static pthread_t thread;
static int listener = -1;
static volatile int over;

// answer looks at one call of the other thread, which waits meanwhile. A filter is taken
// instead of being loaded; what only asks what the kernel can do goes on to the kernel.
static void answer(void)
{
	struct seccomp_notif call = {0};
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
		return;
	const __u64 *args = call.data.args;
	const struct sock_fprog *program = (const void *)(uintptr_t)args[2];
	int loads = call.data.nr == SYS_prctl ? args[1] == SECCOMP_MODE_FILTER : args[0] == SECCOMP_SET_MODE_FILTER;
	struct seccomp_notif_resp resp = {.id = call.id};
	if (loads && program != NULL && program->len > 0) {
		got.flags = call.data.nr == SYS_prctl ? 0 : args[1];
		got.count = program->len;
		memcpy(got.code, program->filter, program->len * sizeof got.code[0]);
	} else {
		resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	}
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

// watch is a thread that the Go runtime knows nothing of: its collector may be waiting
// for the one that waits for us.
static void *watch(void *nothing)
{
	struct pollfd fd = {.fd = listener, .events = POLLIN};
	while (!over && (poll(&fd, 1, 5) >= 0 || errno == EINTR))
		if (fd.revents & POLLIN)
			answer();
	return nothing;
}

int capture_begin(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])
			+ (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_SECCOMP, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return errno;
	listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	if (listener < 0)
		return errno;
	over = 0;
	got.count = 0;
	int error = pthread_create(&thread, NULL, watch, NULL);
	if (error != 0) {
		close(listener);
		listener = -1;
	}
	return error;
}

const struct captured *capture_end(void)
{
	over = 1;
	pthread_join(thread, NULL);
	close(listener);
	listener = -1;
	return &got;
}
