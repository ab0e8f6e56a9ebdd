//go:build cgo

// The runner: process 1 of a sandbox. It is confined as the task is and has nothing
// that the task could not have, but for its socket.
//
// It is C, and runs before the Go runtime would: the runtime's start costs two
// milliseconds of each sandbox and some megabytes of each idle one.
#define _GNU_SOURCE
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Descriptors that the shim hands down.
#define SOCKET 3
#define FILTER 4

static const char runner_name[] = ".agentctl-shim-runner";
static const char pause_name[] = "agentctl-shim-pause"; // only holds a user namespace

struct run {
	pid_t pid;
	uint32_t id; // the shim's number
};

static struct run *runs;
static size_t run_count, run_room;

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	_exit(1);
}

// say sends one message, with up to one file beside it.
static void say(struct message m, const void *more, size_t size, int file)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} beside = {0};
	struct iovec parts[2] = {{&m, sizeof m}, {(void *)more, size}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
	if (file >= 0) {
		msg.msg_control = &beside;
		msg.msg_controllen = sizeof beside.room;
		beside.head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(&beside.head), &file, sizeof file);
	}
	// What can't be said, the shim can't hear: it is gone, which hear notices.
	while (sendmsg(SOCKET, &msg, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

// scope keeps the runner, and with it all that it starts, from abstract sockets of
// others: in the host's network they are reached by name alone (CVE-2020-15257). A
// kernel that can't is told by audit and doctor.
static void scope(void)
{
	struct {
		uint64_t fs, net, scoped;
	} rules = {.scoped = 1}; // LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	const int create_ruleset = 444, restrict_self = 446, version = 1;
	if (syscall(create_ruleset, NULL, 0, version) < 6) // has scopes: Linux 6.12
		return;
	int fd = syscall(create_ruleset, &rules, sizeof rules, 0);
	if (fd < 0 || syscall(restrict_self, fd, 0) != 0)
		die("cannot scope abstract sockets");
	close(fd);
}

// confine loads the filter of system calls that the shim hands down: its flags and its
// instructions. An empty file has none: the sandbox is unconfined, or confined already.
static void confine(void)
{
	static struct {
		uint32_t flags, none;
		struct sock_filter code[BPF_MAXINSNS];
	} f;
	ssize_t n = pread(FILTER, &f, sizeof f, 0);
	if (n < 0)
		die("cannot read the filter of system calls");
	close(FILTER);
	if (n == 0)
		return;
	size_t head = offsetof(typeof(f), code);
	if ((size_t)n <= head || ((size_t)n - head) % sizeof f.code[0] != 0) {
		errno = EINVAL;
		die("cannot read the filter of system calls");
	}
	struct sock_fprog program = {.len = (n - head) / sizeof f.code[0], .filter = f.code};
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, f.flags, &program) != 0)
		die("cannot load the filter of system calls");
}

// shield keeps the task from what is the runner's.
static void shield(void)
{
	// With the shim dies the sandbox; of a shim that died before this, the socket tells.
	// And the task must not look into us by /proc: not at our socket, nor at what passes
	// through it.
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		die("cannot shield the runner");
	if (fcntl(SOCKET, F_SETFD, FD_CLOEXEC) != 0)
		die("the runner is started by the shim, not by hand");
	// An init gets only signals that it has handlers for: it has none, and what it starts
	// inherits neither handlers nor signals that the agent ignores.
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	scope();
	confine();
}

static void run(uint32_t id, const int *files, int count)
{
	static char program[4096];
	struct failure why = {0};
	int terminal = -1;
	if (run_count == run_room) {
		run_room = 2 * run_room + 8;
		runs = reallocarray(runs, run_room, sizeof *runs);
		if (runs == NULL)
			die("cannot remember a process");
	}
	pid_t pid = runner_execute(files, count, &terminal, &why, program, sizeof program);
	if (pid < 0) {
		struct {
			struct failure why;
			char program[sizeof program];
		} told = {.why = why};
		size_t size = strnlen(program, sizeof program);
		uint32_t number = errno;
		memcpy(told.program, program, size);
		say((struct message){FAILED, id, number}, &told, sizeof why + size, -1);
	} else {
		runs[run_count++] = (struct run){pid, id};
		say((struct message){BEGUN, id, 0}, NULL, 0, terminal);
	}
	if (terminal >= 0)
		close(terminal);
}

// reap collects the dead. With the main process the runner ends, and the kernel kills
// what is left.
static void reap(void)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		for (size_t i = 0; i < run_count; i++) {
			if (runs[i].pid != pid)
				continue;
			uint32_t id = runs[i].id;
			runs[i] = runs[--run_count];
			say((struct message){ENDED, id, status}, NULL, 0, -1);
			if (id == MAIN_ID)
				_exit(0);
			break;
		}
	}
}

// hear does one thing that the shim asks for.
static void hear(void)
{
	struct message m;
	char beside[CMSG_SPACE(MAX_FILES * sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = {&m, sizeof m};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = beside, .msg_controllen = sizeof beside};
	int files[MAX_FILES], count = 0;
	ssize_t n = recvmsg(SOCKET, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n != sizeof m)
		_exit(1); // the shim is gone
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(files, CMSG_DATA(c), count * sizeof(int));
	}
	if (m.what == DO_RUN)
		run(m.id, files, count);
	for (size_t i = 0; i < run_count && m.what == DO_SIGNAL; i++)
		if (runs[i].id == m.id)
			kill(-runs[i].pid, m.number); // the group that its terminal's session began with
	for (int i = 0; i < count; i++)
		close(files[i]);
}

static void serve(void)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_SETMASK, &child, NULL);
	int died = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (died < 0)
		die("cannot wait for processes");
	struct pollfd fds[2] = {{.fd = SOCKET, .events = POLLIN}, {.fd = died, .events = POLLIN}};
	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			die("cannot wait");
		struct signalfd_siginfo which;
		if (read(died, &which, sizeof which) > 0)
			reap();
		if (fds[0].revents != 0)
			hear();
	}
}

// This is called in every start of the program, before the Go runtime.
__attribute__((constructor)) static void runner(int argc, char **argv)
{
	if (argc < 1 || argc > 2)
		return;
	const char *slash = strrchr(argv[0], '/'), *name = slash == NULL ? argv[0] : slash + 1;
	if (strcmp(name, pause_name) != 0 && strcmp(name, runner_name) != 0)
		return;
	// A command that only stays is until it is killed.
	while (strcmp(name, pause_name) == 0 || (argc == 2 && strcmp(argv[1], "idle") == 0))
		pause();
	if (argc == 2)
		return;
	shield();
	serve();
}
