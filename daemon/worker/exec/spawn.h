/*
 * Starting users' programs: execvp without a shell, in a session of its own, with the submitter's signals and
 * limits and no descriptor but 0, 1, 2, and those of a jobserver. By vfork, as this process is small and
 * stays so.
 */
#ifndef PMAP_SPAWN_H
#define PMAP_SPAWN_H

#include "daemon/worker/exec/group.h"

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

enum { SPAWN_LIMITS_MAX = 32 };

/* What all processes of this job have in common. */
struct spawner {
    sigset_t mask;      /* blocked signals */
    bool child_ignored; /* SIGCHLD is */
    struct limit {
        int resource;
        struct rlimit values;
    } limits[SPAWN_LIMITS_MAX];
    size_t limit_count;
    struct group group;  /* that they are born into */
    int in, out;         /* ends of a jobserver's pipes for the next process; 0: none */
    char path[PATH_MAX]; /* where the program with a fixed name was found; "": nowhere yet */
};

/*
 * Takes the signals' state as it is, then makes it such that children can be waited for and a closed pipe is
 * an error and no signal. Returns a signalfd of SIGCHLD, or a negative errno.
 */
int spawn_signals(struct spawner *s);

/* Adds a limit, unless it holds already. Returns 0, -EINVAL or -ENOSPC. */
int spawn_limit(struct spawner *s, int resource, rlim_t soft, rlim_t hard);

/*
 * Finds a program where execvp(3) would. Returns 0 or a negative errno: -ENOENT, -EACCES (found, but it must
 * not be executed), -ENAMETOOLONG.
 */
int spawn_find(const char *name, char path[PATH_MAX]);

/* A process that was started, and our ends of its pipes; -1: none. */
struct process {
    pid_t pid;
    int in;
    int out, err;         /* nonblocking */
    int out_end, err_end; /* its ends, kept so that nothing is heard of their being closed */
};

/*
 * argv[-1] must be writable: a script without an interpreter's name is run by the shell. feed: its stdin is a
 * pipe, else ours, which is /dev/null. Returns 0 or a negative errno: of pipe, of clone, or of exec.
 */
int spawn_process(const struct spawner *s, const char *path, char **argv, char *const *envp, bool feed,
                  struct process *process);

void process_close_ends(struct process *process);
void process_close_in(struct process *process);
void process_close(struct process *process);

#endif
