/*
 * Workers: run the chunks that they are given in order, item by item in virtual time, and speak PROTOCOL.md's
 * worker section: results in parts, YIELD, RECALL and DROP obeyed at once or at the next item boundary. They
 * also die.
 */
#ifndef SIM_WORKER_H
#define SIM_WORKER_H

#include "tests/sim/network.h"

/* A chunk at a worker, as the worker has it. */
struct held {
    uint64_t chunk, first;
    struct ledger *function;
    struct slice items; /* holds a reference of its batch */
    uint32_t done;      /* items whose results were sent */
};

/* A chunk at a worker, as the daemon must see it. */
struct given {
    uint64_t chunk, first;
    struct ledger *ledger;
    uint32_t count, done;
    bool in_piece;
    bool begun; /* it has been seen as the first one: it holds a slot since begun_ns */
    bool asked; /* to yield, to hand back or to drop it */
    int64_t given_ns, begun_ns;
};

struct worker_model {
    unsigned number;
    struct worker *handle; /* the core's; NULL: not any more */
    bool alive;
    struct link up, down;
    /* How it behaves. */
    bool patient;          /* looks at messages only between items, as a thread does */
    uint32_t report_items; /* most items in one WORKED */
    int64_t report_ns;     /* it tells at least this often */
    uint32_t piece_size;   /* larger results travel in pieces of this size */
    int64_t drop_ns;       /* how long it takes to give an item up */
    int64_t start_ns;      /* what a chunk costs over its items */
    int64_t dies_ns;       /* when it dies; INT64_MAX: never */
    bool fragile;          /* it may also die between the pieces of a result */
    /* What it holds. */
    struct held *queue;
    unsigned count, capacity;
    struct given *given;
    unsigned given_count, given_capacity;
    /* What it does: items [queue[0].done, + part_count) from part_start_ns to part_end_ns. */
    bool running;
    bool stopping; /* the chunk ends with this part */
    uint32_t part_count;
    int64_t part_start_ns, part_end_ns;
    int64_t told_ns; /* up to when its time was told */
    uint64_t part;   /* number of the part, so that an event of another one is known */
};

/* It is there from now on. */
void worker_start(struct world *world, struct worker_model *worker);
/* A packet of the daemon's has arrived. Returns true when it was taken over. */
bool worker_receive(struct world *world, struct packet *packet);
void worker_free(struct worker_model *worker);

#endif
