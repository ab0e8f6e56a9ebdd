//go:build cgo

// What shim and runner say to each other; wire.go says the same in Go. All numbers are
// in the machine's own byte order: both are one program.
#ifndef AGENTCTL_RUNNER_H
#define AGENTCTL_RUNNER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	DO_RUN = 1,    // to the runner: execute the order in the first file, on the three streams behind it or on a terminal
	DO_SIGNAL = 2, // to the runner: signal its process group
	BEGUN = 3,     // from the runner: it runs; beside it the other end of its terminal
	FAILED = 4,    // from the runner: it could not be executed, and a struct failure
	ENDED = 5,     // from the runner: how it ended
};

enum {
	AT_ORDER = 1,    // the order is damaged
	AT_TERMINAL = 2, // no terminal
	AT_FIND = 3,     // none of the candidates is a program
	AT_EXEC = 4,     // fork, chdir or execve
};

#define MAIN_ID 0 // names the task's main process; when it ends the runner does
#define MAX_FILES 4
#define MAX_ORDER (16 << 20)

struct message {
	uint32_t what;
	uint32_t id; // names one process
	uint32_t number;
};

// An order is this head and strings, each with its NUL: the working folder, the
// candidates for the program, the arguments, the environment.
struct order_head {
	uint32_t candidates, args, env;
};

// Why a command could not be executed: what was found where it was to begin. The path
// of the program stands behind it.
struct failure {
	uint32_t at, cwd_errno, cwd_mode, program_errno, program_mode;
	char head[256]; // of the program
};

// runner_execute starts a command, and returns its process number, or -1 with errno.
// Beside it, *terminal is the other end of a terminal, -1 if it has none.
pid_t runner_execute(const int *files, int count, int *terminal, struct failure *why, char *program, size_t size);

#endif
