/*
 * The monitor: a thread that reads the socket monitor of the clients' ROUTER, so that the broker learns who has connected
 * and who has gone (libzmq 4.3.4 tells it in no other way), and that cuts connections of a uid that has too many, before
 * descriptors run out. It asks the kernel for each peer's uid, gid, pid and groups (SO_PEERCRED, SO_PEERGROUPS); no name
 * is looked up. It must keep reading whatever the broker does: an unread monitor stops ZeroMQ's I/O thread.
 */
#ifndef PMAPD_MONITOR_H
#define PMAPD_MONITOR_H

#include "daemon/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct monitor;

enum { PEER_GROUPS_MAX = 64 }; /* of a peer with more, the first ones count */

struct peer_event {
    enum { PEER_CONNECTED, PEER_GONE } kind;
    int fd; /* the connection's descriptor in this process, as ZMQ_SRCFD gives it; may be in use anew already */
    /* PEER_CONNECTED: */
    pid_t pid;
    uid_t uid;
    gid_t groups[PEER_GROUPS_MAX]; /* the primary one first */
    size_t group_count;
    unsigned connections; /* that this uid has now, this one counted */
};

/*
 * Starts to watch `router` (before it is bound, so that no connection is missed). config: for each uid's limit on
 * connections; borrowed for the monitor's life. A connection over twice the limit is shut down at once and never
 * reported.
 * Returns 0 or a negative errno.
 */
int monitor_start(void *context, void *router, const struct config *config, struct monitor **monitor);

/* A descriptor that is readable while there are events (level-triggered). */
int monitor_fd(const struct monitor *monitor);

/*
 * The next event into *event; false when there is none. An event about a connection is there before its first message
 * can be received. Broker's thread only.
 */
bool monitor_next(struct monitor *monitor, struct peer_event *event);

/* Connections that are open now, cut ones not counted. Any thread. */
unsigned monitor_connections(const struct monitor *monitor);

/* How many connections were cut because a uid had too many. Any thread. */
unsigned long monitor_cuts(const struct monitor *monitor);

/* Stops watching (before the router is closed), joins the thread and frees. NULL is accepted. */
void monitor_stop(struct monitor *monitor, void *router);

#endif
