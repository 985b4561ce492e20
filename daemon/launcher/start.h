/*
 * The way of a child from the launcher to pmap-worker: it becomes the user, is like the submitting process in
 * what a context holds, makes sure that there is no way back, and executes. Only it looks names up, and it
 * has a deadline for that. A shorter way is only asked about.
 */
#ifndef PMAPD_LAUNCHER_START_H
#define PMAPD_LAUNCHER_START_H

#include "daemon/launcher/context.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct start {
    const char *program; /* pmap-worker's path */
    const char *socket;  /* path of the owner's socket */
    uint32_t worker, slot;
    const struct identity *identity;
    bool private_pool; /* does not change who it is */
    int group;         /* folder of its control group; -1: none */
    bool move;         /* it was not born into that and has to move there */
    pid_t launcher;
    int status; /* close-on-exec end of a pipe that tells how it goes */
};

/*
 * What comes through the pipe: one with an error when the child gives up; or one without just before it
 * executes and, when that fails, another with. Nothing at all: it was killed, at its deadline for instance.
 */
struct start_status {
    int error;  /* 0 or an errno */
    bool whole; /* the text says it all; else it is what was being done */
    char text[160];
};

/* To be called in the forked child of a process without threads. */
_Noreturn void start_child(const struct start *start);

/*
 * Likewise, but only asks whether the account of this user may be used, tells that through the pipe (an error
 * of EACCES: it may not), and ends. It has no deadline: whoever has forked it kills it.
 */
_Noreturn void start_asking(uid_t uid, pid_t launcher, int status);

#endif
