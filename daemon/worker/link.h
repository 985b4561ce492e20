/*
 * The worker's connection to the daemon: messages in and out of its DEALER, and whether it still stands. It
 * is never made anew: a daemon that has gone takes its workers with it. Belongs to one thread.
 */
#ifndef PMAP_LINK_H
#define PMAP_LINK_H

#include "common/protocol.h"
#include "daemon/worker/parcel.h"

#include <zmq.h>

struct link {
    void *context, *socket, *monitor;
    int fd, monitor_fd; /* readable, edge-triggered, when something has come to them */
    bool connected;
    bool look; /* something may have come although the descriptor does not say so: sending takes the sign away
                */
    struct decoder *decoder;
    struct wire wire;
    zmq_msg_t frame[PROTOCOL_FRAMES_MAX]; /* of the message that came last */
    size_t count;
};

/* Begins to connect. Returns 0 or a negative errno; give *l to link_close in any case. */
int link_open(struct link *l, const char *endpoint);
void link_close(struct link *l);

/*
 * Takes the next message, of 1 frame and more. *m is good until the next call; frames may be moved away.
 * Returns 1, 0 (none: only then does the descriptor tell of another), -EPROTO (it breaks the protocol), or
 * another negative errno.
 */
int link_receive(struct link *l, struct message *m);

/* Looks what has become of the connection. Returns 0, or -ENOTCONN when it is gone. */
int link_watch(struct link *l);

/* Each of these returns 0 or a negative errno, after which the connection is of no use. */
int link_ready(struct link *l, uint32_t number);
/* parcel: NULL for none. */
int link_worked(struct link *l, uint64_t chunk, const struct parcel *parcel, bool last, int64_t run_ns,
                int64_t cpu_ns);
int link_parked(struct link *l, uint64_t chunk, uint32_t count, int64_t run_ns, int64_t cpu_ns);
/* So many of the slots that were lent to the chunk have come back. */
int link_returned(struct link *l, uint64_t chunk, uint64_t tokens);
int link_failed(struct link *l, uint64_t job, const char *text);

#endif
