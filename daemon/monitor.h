/*
 * The monitor: a thread that reads the socket monitor of the clients' ROUTER, so that the broker learns who
 * has connected and who has gone (libzmq 4.3.4 tells it in no other way), and that cuts connections of a uid
 * that has too many, before descriptors run out. It asks the kernel for each peer's uid, gid, pid and groups
 * (SO_PEERCRED, SO_PEERGROUPS); no name is looked up. It must keep reading whatever the broker does: an
 * unread monitor stops ZeroMQ's I/O thread.
 */
#ifndef PMAPD_MONITOR_H
#define PMAPD_MONITOR_H

#include "daemon/common/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct monitor;

enum { PEER_GROUPS_MAX = 64 }; /* of a peer with more, the first ones count */

struct peer_event {
    enum { PEER_CONNECTED, PEER_GONE } kind;
    int fd; /* the connection's descriptor in this process, as ZMQ_SRCFD gives it; may be in use anew already
             */
    /* PEER_CONNECTED: */
    pid_t pid;
    uid_t uid;
    gid_t groups[PEER_GROUPS_MAX]; /* the primary one first */
    size_t group_count;
    unsigned connections; /* that this uid has now, this one counted */
};

/*
 * What the broker may rely on, in a ZeroMQ context with one I/O thread (the default):
 * - Events are asked for, not only handed over: monitor_next takes what libzmq has said up to now before it
 * says "none", whether or not the monitor's thread has run. libzmq tells of a connection before it reads from
 * it, so once monitor_next has said false, every connection from which a message has been received has had
 * its PEER_CONNECTED, unless it was gone again or cut before it was looked at.
 * - So, for a first message whose ZMQ_SRCFD has no PEER_CONNECTED: call monitor_next until it says false; if
 * there is still none, the sender is gone (or cut) and no event about it will ever come. Messages that ZeroMQ
 * had read from it can be received long after its PEER_GONE too.
 * - Events of one descriptor come in their order, and each PEER_CONNECTED is followed by one PEER_GONE before
 * the next one. But a late message of an old connection can carry a descriptor that is a new one's by then:
 * pid and uid of "Peer-Address" tell them apart, save for two connections of one process; and a send to the
 * old one's routing id says EHOSTUNREACH.
 * - The credentials are the connection's own, also when its descriptor was closed and used anew meanwhile.
 */

/*
 * Starts to watch `router` (before it is bound, so that no connection is missed). config: for each uid's
 * limit on connections; borrowed for the monitor's life. A connection over twice the limit, or over half of
 * what the process's limit on descriptors (read here) and the connections of the others leave room for, is
 * shut down at once and never reported, so that there is always room for who comes with a few; so is one for
 * which there is no memory. All signals must be blocked in the caller, so that they
 * are in the thread. Returns 0 or a negative errno.
 */
int monitor_start(void *context, void *router, const struct config *config, struct monitor **monitor);

/* Another configuration holds from now on: for each owner from the next connection on. Broker's thread only.
 */
void monitor_configure(struct monitor *monitor, const struct config *config);

/* A descriptor that is readable while there are events (level-triggered: until monitor_next has said false).
 */
int monitor_fd(const struct monitor *monitor);

/* The next event into *event; false when there is none. Broker's thread only. */
bool monitor_next(struct monitor *monitor, struct peer_event *event);

/* Connections that one uid should have at most, whatever the configuration says: half of what gets it cut
 * when nobody else has any, so that it can be told before. Any thread. */
unsigned monitor_most_of_one(const struct monitor *monitor);

/* Connections that are open now, cut ones not counted. Any thread. */
unsigned monitor_connections(const struct monitor *monitor);

/* How many connections were cut because a uid had too many. Any thread. */
unsigned long monitor_cuts(const struct monitor *monitor);

/* Stops watching (before the router is closed), joins the thread and frees. NULL is accepted. */
void monitor_stop(struct monitor *monitor, void *router);

#endif
