//go:build cgo

#ifndef AGENTCTL_CAPTURE_H
#define AGENTCTL_CAPTURE_H

#include <linux/filter.h>
#include <stdint.h>

// captured is a filter of system calls, as it was to be loaded.
struct captured {
	uint32_t flags, count;
	struct sock_filter code[BPF_MAXINSNS];
};

// capture_begin makes the next filter that the calling thread loads come here instead.
// It returns 0, or an errno. Afterwards the thread is of no use for anything else.
int capture_begin(void);

// capture_end waits for it, and returns it; its count is 0 if there was none.
const struct captured *capture_end(void);

#endif
