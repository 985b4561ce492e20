/*
 * Links: what one side sends reaches the other after a delay, in order. Packets stand for the protocol's
 * messages; what they hold is copied as the wire would do, or counted by references as between threads.
 */
#ifndef SIM_NETWORK_H
#define SIM_NETWORK_H

#include "client/libpmap/flow.h"
#include "tests/sim/world.h"

struct link {
    int64_t base_ns, spread_ns; /* each packet takes base + up to spread */
    int64_t ns_per_kib;         /* and what its size adds to that */
    int64_t last_ns;            /* when the latest packet arrives: none overtakes it */
    bool cut;                   /* nothing arrives any more, save the news of that */
    /* Returns true when the receiver has taken the packet over. */
    bool (*deliver)(struct world *world, struct packet *packet);
    void *end; /* of the receiver: a connection or a worker */
};

/* What is not a message of the protocol: the news that the other side is there or gone. */
enum { PACKET_HELLO = 200, PACKET_GONE = 201, PACKET_STOPPING = 202 };

struct packet {
    LIST_ENTRY(packet) entry;
    STAILQ_ENTRY(packet) waiting; /* at its receiver */
    struct link *link;
    unsigned type; /* enum message_type, or PACKET_… */
    uint64_t ref, first, bytes, job, chunk;
    bool more, end, last, has_done;
    struct batch *batch; /* a reference is held */
    struct slice items;  /* CHUNK: refers into batch */
    struct ledger *function;
    struct range *done; /* OPEN: own memory */
    uint32_t done_count;
    struct job_report report;
    int64_t run_ns;
    int error;
    struct flow_verdict verdict; /* RESULTS, once they have come */
};

struct packet *packet_new(struct world *world, unsigned type);
void packet_free(struct world *world, struct packet *packet);

/* Sends; the link takes the packet over. */
void link_send(struct world *world, struct link *link, struct packet *packet);

/* A batch of the world's own memory with a copy of the slice, as a receiver would have it; more: it is a
 * piece. */
struct batch *batch_of_slice(struct world *world, const struct slice *slice, bool more);
/* One batch of several with results, as one message carries them. */
struct batch *batch_of_blocks(struct world *world, struct batch *const *blocks, size_t count, bool more);
/*
 * A batch of results of the items [first, first + count) of a job; or, with size below that of the one
 * result, a piece of it from `offset` on (more: not the last).
 */
struct batch *batch_of_results(struct world *world, const struct work *work, uint64_t first, uint32_t count);
struct batch *batch_of_piece(struct world *world, const struct work *work, uint64_t index, size_t offset,
                             size_t size, bool more);

#endif
