//go:build cgo

// How the runner executes a command.
#define _GNU_SOURCE
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

// attempt is a command that is being executed. The child, which shares our memory until
// it executes, leaves its error here.
struct attempt {
	const char *cwd, *program;
	char **candidates, **args, **env;
	uint32_t count; // of the candidates
	int streams[3];
	int own_terminal;
	volatile int error;
};

// strings takes count strings from what is left of an order, and ends them with NULL.
static char **strings(char **left, char *end, uint32_t count)
{
	char **list = calloc((size_t)count + 1, sizeof *list);
	for (uint32_t i = 0; list != NULL && i < count; i++) {
		char *nul = *left < end ? memchr(*left, 0, end - *left) : NULL;
		if (nul == NULL) {
			free(list);
			return NULL;
		}
		list[i] = *left;
		*left = nul + 1;
	}
	return list;
}

static int parse(char *data, size_t size, struct attempt *a)
{
	struct order_head head;
	if (size < sizeof head)
		return -1;
	memcpy(&head, data, sizeof head);
	if (head.candidates == 0 || head.args == 0 || head.candidates > size || head.args > size || head.env > size)
		return -1;
	char *left = data + sizeof head, *end = data + size;
	char **cwd = strings(&left, end, 1);
	a->count = head.candidates;
	if (cwd == NULL || (a->candidates = strings(&left, end, head.candidates)) == NULL ||
	    (a->args = strings(&left, end, head.args)) == NULL || (a->env = strings(&left, end, head.env)) == NULL) {
		free(cwd);
		return -1;
	}
	a->cwd = cwd[0];
	free(cwd);
	return 0;
}

// find takes the first candidate that can be executed; a single one is taken as it is,
// and what is wrong with it is told.
static int find(struct attempt *a)
{
	a->program = a->candidates[0];
	for (uint32_t i = 0; a->count > 1; i++) {
		struct stat st;
		if (i == a->count)
			return -1;
		a->program = a->candidates[i];
		if (stat(a->program, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111) != 0)
			break;
	}
	a->args[0] = (char *)a->program;
	return 0;
}

// make_folder makes the working folder, as with Docker. That it is not there after all
// is told when it is entered.
static void make_folder(const char *path)
{
	struct stat st;
	char *copy;
	if (stat(path, &st) == 0 || (copy = strdup(path)) == NULL)
		return;
	for (char *p = copy + 1; *p != 0; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(copy, 0755);
		*p = '/';
	}
	mkdir(copy, 0755);
	free(copy);
}

// open_terminal makes a pseudo-terminal of the sandbox's own devpts. The task can change
// /dev, so what is opened is looked at.
static int open_terminal(int *master, int *slave)
{
	const long devpts_magic = 0x1cd1;
	int unlock = 0;
	struct statfs fs;
	*master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
	if (*master < 0)
		return -1;
	// The first terminal that a leader of a session opens would be the runner's own.
	if (fstatfs(*master, &fs) == 0 && fs.f_type != devpts_magic)
		errno = ENODEV;
	else if (fs.f_type == devpts_magic && ioctl(*master, TIOCSPTLCK, &unlock) == 0)
		*slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*slave >= 0)
		return 0;
	int error = errno;
	close(*master);
	*master = -1;
	errno = error;
	return -1;
}

// child becomes the command.
static _Noreturn void child(struct attempt *a)
{
	sigset_t none;
	sigemptyset(&none);
	// A session of its own: what it sends to its process group must not reach the runner.
	if (setsid() >= 0 && (!a->own_terminal || ioctl(a->streams[0], TIOCSCTTY, 0) == 0) && chdir(a->cwd) == 0 &&
	    dup2(a->streams[0], 0) >= 0 && dup2(a->streams[1], 1) >= 0 && dup2(a->streams[2], 2) >= 0 &&
	    sigprocmask(SIG_SETMASK, &none, NULL) == 0)
		execve(a->program, a->args, a->env);
	a->error = errno;
	_exit(127);
}

// begin forks. It is a function of its own, since its frame is the child's too.
static __attribute__((noinline)) pid_t begin(struct attempt *a)
{
	pid_t pid = vfork();
	if (pid == 0)
		child(a);
	return pid;
}

// look finds out what the shim needs to say which of fork, chdir and execve failed, and
// why: they all give the same few errors.
static void look(const struct attempt *a, struct failure *why)
{
	struct stat st;
	if (stat(a->cwd, &st) == 0)
		why->cwd_mode = st.st_mode;
	else
		why->cwd_errno = errno;
	if (stat(a->program, &st) == 0)
		why->program_mode = st.st_mode;
	else
		why->program_errno = errno;
	int fd = S_ISREG(why->program_mode) ? open(a->program, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	if (fd < 0)
		return;
	if (read(fd, why->head, sizeof why->head) < 0)
		why->head[0] = 0;
	close(fd);
}

static pid_t execute(struct attempt *a, struct failure *why)
{
	if (find(a) != 0) {
		why->at = AT_FIND;
		return -1;
	}
	make_folder(a->cwd);
	why->at = AT_EXEC;
	pid_t pid = begin(a);
	int error = pid < 0 ? errno : a->error;
	if (error == 0)
		return pid;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	look(a, why);
	errno = error;
	return -1;
}

pid_t runner_execute(const int *files, int count, int *terminal, struct failure *why, char *program, size_t size)
{
	struct attempt a = {.streams = {-1, -1, -1}};
	struct stat st;
	pid_t pid = -1;
	program[0] = 0;
	why->at = AT_ORDER;
	if ((count != 1 && count != MAX_FILES) || fstat(files[0], &st) != 0 || st.st_size <= 0 || st.st_size > MAX_ORDER) {
		errno = EINVAL;
		return -1;
	}
	void *data = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, files[0], 0);
	if (data == MAP_FAILED)
		return -1;
	errno = EINVAL;
	if (parse(data, st.st_size, &a) == 0) {
		int slave = -1;
		why->at = AT_TERMINAL;
		a.own_terminal = count == 1;
		if (!a.own_terminal)
			memcpy(a.streams, files + 1, sizeof a.streams);
		if (!a.own_terminal || open_terminal(terminal, &slave) == 0) {
			if (a.own_terminal)
				a.streams[0] = a.streams[1] = a.streams[2] = slave;
			pid = execute(&a, why);
			strncpy(program, a.program, size - 1);
		}
		int error = errno;
		if (slave >= 0)
			close(slave);
		errno = error;
	}
	int error = errno;
	free(a.candidates);
	free(a.args);
	free(a.env);
	munmap(data, st.st_size);
	errno = error;
	return pid;
}
