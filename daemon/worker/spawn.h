/*
 * Starting a host: its command line and environment, and the state of the submitter's process that it is to
 * have. What goes wrong in the new process it says itself, as a host would: BAD with the reason.
 */
#ifndef PMAP_SPAWN_H
#define PMAP_SPAWN_H

#include "daemon/worker/jobs.h"

#include <sys/resource.h>
#include <sys/types.h>

struct spawn {
    const char *folder;  /* where the programs are */
    unsigned slot;       /* PMAP_SLOT */
    struct rlimit files; /* the worker's own RLIMIT_NOFILE as it was given, before it raised it */
};

/* What a new process needs; made once for a job, in the worker, because the child may not allocate. */
struct program {
    char **argv, **env;
    size_t argc, envc;
    char *path; /* the program's; NULL: argv[0] is looked for in search */
    char *search;
};

/* Returns 0 or -ENOMEM. Give it to program_free in any case. */
int program_make(struct program *p, const struct spawn *spawn, const struct job *job);
void program_free(struct program *p);

/*
 * Starts it with these descriptors (of any numbers but 0 to 2). Returns its pid, or a negative errno.
 */
pid_t program_start(const struct program *p, const struct spawn *spawn, const struct job *job, int socket,
                    int arena, int output);

#endif
