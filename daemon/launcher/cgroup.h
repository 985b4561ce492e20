/*
 * Control groups, version 2: who is charged together, limited together and killed at one stroke.
 *
 *   OWN/                   the unit's, delegated to us (Delegate=yes): left without processes of its own
 *     supervisor/          the launcher
 *     broker/              the broker, with a limit of memory
 *     users/u<uid>/        an owner: weight, memory and number of processes as the configuration has them
 *       w<number>/         a worker and all that comes of it, killed at one stroke
 *         worker/          the worker itself
 *         e<n>/            the items of one of its pmap-execs, which makes it (daemon/worker/exec/group.h)
 *
 * Root writes all of it; its owner may make groups below w<number> and move his processes about there, not
 * out of it. We ourselves move nothing but the two daemons at the start: workers are born into their group,
 * or move there by themselves where the kernel's clone3(2) is not to be had.
 * What is not there (a controller, a file of a later kernel) is done without.
 */
#ifndef PMAPD_CGROUP_H
#define PMAPD_CGROUP_H

#include "daemon/common/config.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

enum { CGROUP_WHY_MAX = 512 };

struct cgroup_worker {
    LIST_ENTRY(cgroup_worker) link;
    uint32_t number;
    bool ended; /* killed; its folder goes when it is empty */
};

struct cgroup_owner {
    LIST_ENTRY(cgroup_owner) link;
    uid_t uid;
    int folder;
    bool limited, sure;   /* these are what he has; and are so in the files as well */
    struct limits limits; /* weight, memory, pids */
    LIST_HEAD(, cgroup_worker) workers;
};

struct cgroups {
    int users;  /* its folder; -1: there are no groups, and nothing below is to be called but cgroups_close */
    int broker; /* its folder */
    bool cpu, memory, pids; /* controllers that are in force */
    LIST_HEAD(, cgroup_owner) owners;
};

/* No groups. */
void cgroups_init(struct cgroups *groups);

/*
 * Looks for the group that we were given, in the hierarchy at `root` ("/sys/fs/cgroup"). Returns 0 and its
 * path, or a negative errno and in `why`, in words, why there is none: -ENOTSUP (no version 2 there), -EACCES
 * (the group that we are in is not ours to divide).
 */
int cgroups_find(const char *root, char own[PATH_MAX], char why[CGROUP_WHY_MAX]);

/*
 * Divides the group `own`, a folder: moves this process and the broker to their places, and enables what
 * controllers there are. Kills what a former launcher has left in users/. queued_bytes: that the broker may
 * hold. Returns 0 or a negative errno, and why.
 */
int cgroups_open(const char *own, pid_t broker, uint64_t queued_bytes, struct cgroups *groups,
                 char why[CGROUP_WHY_MAX]);

/*
 * Limits the broker's memory to twice what it may hold, and what it is by itself: to be called when that has
 * changed. Returns 0 or a negative errno.
 */
int cgroups_limit_broker(const struct cgroups *groups, uint64_t queued_bytes);

/* The names of the controllers that are in force, " cpu memory pids" at most. */
void cgroups_names(const struct cgroups *groups, char names[32]);

/*
 * Makes a worker's group, and its owner's where there is none yet. *folder is the caller's to close, for
 * clone3(2) or to move to. Returns 0 or a negative errno.
 */
int cgroups_add(struct cgroups *groups, uid_t uid, uint32_t worker, int *folder);

/* Of weight, memory and pids the larger, key by key; without a limit is largest. */
void cgroups_larger_limits(struct limits *limits, const struct limits *other);

/*
 * Puts an owner's limits into force, if he has a group and they are other ones than those he has: to be
 * called whenever they may have changed. Lower ones hold for what is there already, and the kernel may take
 * its time to take memory back. Returns 0 or the first negative errno.
 */
int cgroups_apply_limits(struct cgroups *groups, uid_t uid, const struct limits *limits);

/*
 * Likewise, but only as far as they are larger than those that he has. An owner's workers share what he may
 * have, and where his groups give one more, another must not take that from it. *limits becomes what he has.
 */
int cgroups_widen_limits(struct cgroups *groups, uid_t uid, struct limits *limits);

/* Somebody else puts these into force (limiting.h). */
void cgroups_note_limits(struct cgroups *groups, uid_t uid, const struct limits *limits);

/* Nobody's are sure to be in force: they are written anew when they are next to be applied or widened. */
void cgroups_doubt_limits(struct cgroups *groups);

/* Kills all that is in a worker's group. Returns 0 or a negative errno. */
int cgroups_kill(struct cgroups *groups, uid_t uid, uint32_t worker);

/* The same for one that has ended: its group goes with what is left in it. */
void cgroups_end(struct cgroups *groups, uid_t uid, uint32_t worker);

/* Removes what groups have become empty. Returns how many have yet to. */
size_t cgroups_sweep(struct cgroups *groups);

/* Kills all that is in any worker's group. */
void cgroups_kill_all(struct cgroups *groups);

/* Removes what is empty. Our own and the broker's group stay: we are in them. */
void cgroups_close(struct cgroups *groups);

#endif
