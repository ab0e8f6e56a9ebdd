// floor LOWER STAGE COMMAND …: the least that a sandbox can be: new namespaces, an
// overlay of LOWER with memory on top, pivot_root, exec.
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		_exit(1);
	}
}

static void box(char **argv)
{
	char options[4096];
	must(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
	must(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
	must(mount("tmpfs", argv[2], "tmpfs", MS_NOSUID | MS_NODEV, NULL), "tmpfs");
	must(chdir(argv[2]), "chdir");
	must(mkdir("upper", 0755), "upper");
	must(mkdir("work", 0755), "work");
	must(mkdir("root", 0755), "root");
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=upper,workdir=work", argv[1]);
	must(mount("overlay", "root", "overlay", MS_NOSUID | MS_NODEV, options), "overlay");
	must(mount("proc", "root/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "proc");
	must(chdir("root"), "chdir");
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	must(chdir("/"), "chdir");
	execv(argv[3], argv + 3);
	must(-1, argv[3]);
}

int main(int argc, char **argv)
{
	struct clone_args args = {
		.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
		.exit_signal = SIGCHLD,
	};
	int status;
	pid_t pid;

	if (argc < 4)
		return 2;
	pid = syscall(SYS_clone3, &args, sizeof args);
	must(pid, "clone3");
	if (pid == 0)
		box(argv);
	must(waitpid(pid, &status, 0), "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
