/* A chunk that this worker holds: its items, its credit, and the results that could not be sent yet. */
#ifndef PMAP_CHUNK_H
#define PMAP_CHUNK_H

#include "daemon/worker/hosts.h"
#include "daemon/worker/outbox.h"

#include <zmq.h>

struct chunk {
    TAILQ_ENTRY(chunk) link;
    uint64_t id, first;       /* first: index of its first item in the job */
    struct job *job;          /* counted; NULL once it is parked */
    uint32_t count;           /* items */
    bool whole;               /* all of it has come */
    zmq_msg_t lengths, bytes; /* its frames as they came, unless it is a large item */
    struct host *large;       /* the host in whose arena the large item is */
    uint64_t large_at, large_size;
    int64_t credit; /* for results; INT64_MAX: no limit */
    bool
        head; /* everything else waits for this chunk, so there will be credit as long as there is a client */
    /* Slots lent to it for its items' jobservers, counted over its life: lent, wanted back (and the most that
     * this ever was), given back. */
    uint64_t lent, back, called, returned;
    struct outbox outbox;
    uint32_t next;        /* items whose results are sent or in the outbox: the first ones */
    bool no_room;         /* a result could not be kept */
    bool in_piece;        /* a part of the next one's result is so too */
    uint64_t piece_bytes; /* how much */
    bool stopping;        /* no further item is to be begun */
    bool trace;           /* where its items are run, and when, is to be told */
    bool dropped;         /* nothing of it is wanted */
    bool parked;
    bool ended; /* its last WORKED was sent */
};
TAILQ_HEAD(chunk_list, chunk);

#endif
