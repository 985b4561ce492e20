/*
 * Contexts: what a process of a user's is to be like, and numbers for those that are alike. An identity is
 * read from the submitting process (peer.h); workers may be shared by all who have an equal one. The table
 * has a limit: those that have no worker are forgotten, the longest unused first, and come back with a new
 * number.
 */
#ifndef PMAPD_CONTEXT_H
#define PMAPD_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum { IDENTITY_CPUS = 8192 }; /* the most CPUs that a kernel for this machine may be built for */

struct identity {
    uid_t uid;
    gid_t gid;
    bool groups_known; /* by the kernel; else the name service is to be asked for them */
    gid_t *groups;     /* ascending; malloc'd */
    size_t group_count;
    rlim_t limits[RLIM_NLIMITS]; /* hard ones */
    int nice;
    unsigned char cpus[IDENTITY_CPUS / 8]; /* as for sched_setaffinity(2) */
};

/* Frees what *identity holds and leaves it empty. */
void identity_clear(struct identity *identity);

struct context {
    uint32_t number;
    unsigned workers; /* kept count of by the caller: with any, the context stays */
    uint64_t hash, used;
    struct identity identity;
};

struct contexts {
    struct context **list;
    size_t count;
    uint64_t uses;   /* a clock of uses */
    uint32_t number; /* the last one given */
};

/*
 * The context of this identity, whose contents it takes over whatever comes of it. Valid until the next call
 * unless it has workers. Returns 0, -ENOMEM, or -EAGAIN: as many as there may be, all with workers.
 */
int contexts_get(struct contexts *contexts, struct identity *identity, struct context **context);

void contexts_free(struct contexts *contexts);

#endif
