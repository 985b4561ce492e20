/*
 * What the kernel says of memory and CPU time beside wait4(2): whether a SIGKILL was the out-of-memory
 * killer's, what this process's own peak is, what a living process has used.
 */
#ifndef PMAP_USAGE_H
#define PMAP_USAGE_H

#include "daemon/worker/exec/group.h"

#include <stdint.h>
#include <sys/types.h>

/* Looks at the kernel's counts for the first time: of the items' control group (kept) or, where there is
 * none, ours. */
void usage_watch(const struct group *group);

/*
 * Has the out-of-memory killer been at work since the last time this was asked? What to say of it, static;
 * NULL: it has not.
 */
const char *usage_out_of_memory(void);

/* The largest resident set of this process since usage_forget_peak, in bytes; 0: unknown. */
uint64_t usage_own_peak(void);

/* Makes the present size the peak. */
void usage_forget_peak(void);

/* CPU time of a living process, in ns; 0 if it is gone. */
uint64_t usage_cpu_ns(pid_t pid);

#endif
