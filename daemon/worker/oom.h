/*
 * Did the kernel kill something because memory was out, and whose memory? Counters of it, looked at before
 * and after.
 */
#ifndef PMAP_OOM_H
#define PMAP_OOM_H

#include <stdint.h>

enum { OOM_TEXT_MAX = 80 };

/* UINT64_MAX: unknown. */
struct oom {
    uint64_t cgroup, machine; /* processes killed so, in the cgroup and everywhere */
    uint64_t owner;           /* how often our owner's cgroup was at its limit of memory */
};

/* Reads them all. group: the cgroup's path; NULL: our own. */
void oom_read(struct oom *now, const char *group);

/* What can be said of a process that SIGKILL ended between the two, put into text; NULL: nothing. */
const char *oom_text(const struct oom *before, const struct oom *after, char text[OOM_TEXT_MAX]);

#endif
