/* Did the kernel kill something because memory was out? Counters of it, looked at before and after. */
#ifndef PMAP_OOM_H
#define PMAP_OOM_H

#include <stdint.h>

struct oom {
    uint64_t cgroup, machine; /* processes killed so, in our cgroup and everywhere; UINT64_MAX: unknown */
};

/* Reads both. */
void oom_read(struct oom *now);

/* What can be said of a process that SIGKILL ended between the two: a constant text, or NULL. */
const char *oom_text(const struct oom *before, const struct oom *after);

#endif
