/*
 * Ends whatever hosts leave behind. The worker is the subreaper of all that comes of its hosts: what loses
 * its parent becomes its own child, and is killed once it belongs to no host.
 */
#ifndef PMAP_REAP_H
#define PMAP_REAP_H

#include <stdbool.h>
#include <sys/types.h>

/* Makes this process a subreaper. Returns 0 or a negative errno. */
int reap_init(void);

/* Waits for one child that has ended. Returns its pid and sets *status, or 0 when there is none. */
pid_t reap_next(int *status);

/*
 * Kills every child that `is_host` does not know, and what becomes a child by that, again and again for a
 * short while. Their ends are waited for here. Returns whether all are gone: where it is false, call again
 * later.
 */
bool reap_sweep(bool (*is_host)(const void *cookie, pid_t pid), const void *cookie);

#endif
