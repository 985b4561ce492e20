/*
 * A message as it was received: up to PROTOCOL_FRAMES_MAX frames of ZeroMQ, and, for results, the batch that
 * lies over them, so that nothing is copied between the socket and the caller.
 */
#ifndef PMAP_RECEIVED_H
#define PMAP_RECEIVED_H

#include "client/libpmap/flow.h"
#include "common/batch.h"
#include "common/protocol.h"

#include <stdint.h>
#include <sys/queue.h>
#include <zmq.h>

struct received {
    STAILQ_ENTRY(received) link; /* its job's, while it is one of its results */
    struct batch batch;          /* after received_results; who drops its last reference frees the message */
    uint64_t first;              /* results: index of the first */
    struct flow_verdict verdict; /* results: what is to be done with them */
    uint8_t *known;              /* with verdict.filter: a byte a record, 1: it was taken before, drop it */
    bool old;                    /* results: their daemon is lost, and the flow knows them as taken */
    bool made;                   /* results: by received_made */
    unsigned count;              /* of frames */
    zmq_msg_t frame[PROTOCOL_FRAMES_MAX];
};
STAILQ_HEAD(received_list, received);

/* An empty one; NULL when memory is short. */
struct received *received_new(void);
/* Closes its frames, so that it can be used again. */
void received_clear(struct received *r);
/* NULL is accepted. Not for one that has a batch. */
void received_free(struct received *r);

/*
 * Receives the next message into r, which must be empty; does not wait.
 * Returns 0, -EAGAIN (there is none), -EPROTO (it had too many frames, and has been dropped) or what ZeroMQ
 * said.
 */
int received_next(struct received *r, void *socket);

/* Makes r->batch of the frames of RESULTS. The message is then the batch's. Returns 0 or -EPROTO (r is as
 * before). */
int received_results(struct received *r, uint64_t first, bool more);

/* Results that nobody has sent: `count` of them, empty, each with a note of this kind and text. NULL when
 * memory is short. */
struct received *received_made(uint64_t first, uint32_t count, uint16_t kind, struct text text);

#endif
