/*
 * For tests of the broker's sandbox: each attempt is a process of its own, which enters the sandbox and then
 * tries it.
 */
#ifndef PMAP_SANDBOX_RIG_H
#define PMAP_SANDBOX_RIG_H

#include "daemon/sandbox/sandbox.h"

#include <sys/types.h>

/* What this build has of the sandbox; CMake knows of the first. */
#ifndef HAS_FILTER
#define HAS_FILTER 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_ROOT 0
#else
#define HAS_ROOT 1 /* Landlock, too */
#endif

enum { KILLED = 100000, SETUP_FAILED };

/* In each such process, made before it enters the sandbox. */
extern int pair[2];                  /* sockets that are connected with each other */
extern int status_fd;                /* its own file `status` of /proc */
extern int inet_fd;                  /* a socket */
extern pid_t alive, dead;            /* children: one that runs, and one that ends with 7 */
extern char folder[64], outside[64]; /* two directories, in which there are "own.sock" and "file" */

struct attempt {
    const char *name;
    int (*attempt)(void); /* returns 0 or a negative errno */
};

/* For the group of tests. */
int rig_set_up(void **state);
int rig_tear_down(void **state);

/* What a process of the rig has, made in this one. Returns 0 or -1. */
int rig_prepare(void);
/* What the attempt returns in the sandbox; KILLED when it has ended the process with SIGSYS. */
int rig_in_sandbox(const struct sandbox *sandbox, int (*attempt)(void));
/* Each of the attempts returns this in the sandbox, or the test fails and names it. */
void rig_all(const struct attempt *attempts, size_t count, int want);

/* Makes an empty file. Returns 0 or a negative errno. */
int rig_make_file(const char *where, const char *name);
/* "where/name", in `room`. */
char *rig_path(char room[128], const char *where, const char *name);
/* -errno for what has failed, else 0. */
int rig_error(long rc);

#endif
