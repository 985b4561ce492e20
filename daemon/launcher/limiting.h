/*
 * Putting limits into force that may be lower than what is there: the kernel then takes memory back before it
 * goes on, for as long as that takes, so a child of the launcher's does it. One thread.
 */
#ifndef PMAPD_LAUNCHER_LIMITING_H
#define PMAPD_LAUNCHER_LIMITING_H

#include "daemon/launcher/cgroup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One that is under way; zeroed to begin with. */
struct limiting {
    pid_t pid;  /* the child; 0: none is */
    bool again; /* limits were widened meanwhile, which the child may have narrowed after that */
};

/* What an owner is to have. */
struct wish {
    uid_t uid;
    struct limits limits;
};

/* Adds a context's limits to its owner's wish, in a list that has room for one more: the larger ones, key by
 * key. */
void limiting_wish(struct wish *wishes, size_t *count, uid_t uid, const struct limits *limits);

/*
 * Forks a child that puts these into force for owners, and the broker's (cgroups_limit_broker), and logs what
 * fails; one that is under way is killed, as what it does is out of date. Here they are taken to be in force
 * at once. Where there is no child to be had it is done here.
 */
void limiting_start(struct limiting *limiting, struct cgroups *groups, const struct wish *wishes,
                    size_t count, uint64_t queued_bytes);

/*
 * The child has been waited for, with this status. What it may not have done is done with the owner's next
 * worker. Returns whether all is to be started again.
 */
bool limiting_end(struct limiting *limiting, struct cgroups *groups, int status);

#endif
