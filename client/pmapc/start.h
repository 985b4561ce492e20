/*
 * Starting a private daemon for this user, as tmux starts its server.
 */
#ifndef PMAPC_START_H
#define PMAPC_START_H

#include <sys/types.h>

/*
 * Starts a pmapd that serves this user at `endpoint` (checked), leaves the caller's terminal and descriptors,
 * and exits when it has been idle for ten minutes ($PMAP_IDLE_EXIT seconds); waits up to 5 s until somebody
 * listens there. Another pmapc may be starting one at the same time: one of the two daemons then exits, and
 * both clients find the other. Returns 0, or STATUS_NO_POOL having told why.
 */
int start_daemon(const char *endpoint);

/* Starts one there without waiting for it; its pid into *pid. Returns as start_daemon. */
int start_again(const char *endpoint, pid_t *pid);

#endif
