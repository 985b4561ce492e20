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
    uint32_t ran, done; /* items that were run; whose results were sent */
    /* Of a process's: */
    int64_t credit;
    uint32_t offset;               /* bytes of the next result that were sent */
    int64_t run_ns;                /* that was not told */
    bool dropped;                  /* its results are not wanted */
    uint64_t lent, back, returned; /* tokens */
};

/* A chunk at a worker, as the daemon must see it. */
struct given {
    uint64_t chunk, first;
    struct ledger *ledger;
    uint32_t count, done;
    bool in_piece;
    bool begun; /* it has been seen as the first one: it holds a slot since begun_ns */
    bool asked; /* to yield, to hand back or to drop it */
    bool parked;
    int64_t credit;  /* a process's, for results */
    uint32_t tokens; /* slots lent to it, since tokens_ns or longer */
    uint64_t lent, back;
    int64_t tokens_ns;
    int64_t given_ns, begun_ns;
};

struct worker_model {
    struct worker *handle;      /* the core's; NULL: not any more */
    struct worker_model *grave; /* the next one of the world's */
    struct owner *owner;        /* whose process it is; NULL: a thread */
    struct link up, down;
    unsigned number;
    /* How it behaves. */
    uint32_t report_items; /* most items in one WORKED */
    int64_t report_ns;     /* it tells at least this often */
    int64_t drop_ns;       /* how long it takes to give an item up */
    int64_t start_ns;      /* what a chunk costs over its items */
    int64_t dies_ns;       /* when it dies; INT64_MAX: never */
    int64_t born_ns;
    uint32_t piece_size; /* larger results travel in pieces of this size */
    bool patient;        /* looks at messages only between items, as a thread does */
    bool fragile;        /* it may also die between the pieces of a result */
    bool gives_up;       /* hands the rest of a chunk back when it has no credit */
    /* What it does: items [queue[0].ran, + part_count) from part_start_ns to part_end_ns. */
    bool alive;
    bool running;
    bool stopping; /* the chunk ends with this part */
    uint32_t part_count;
    int64_t part_start_ns, part_end_ns;
    int64_t told_ns; /* up to when its time was told */
    uint64_t part;   /* number of the part, so that an event of another one is known */
    /* What it holds. */
    struct held *queue;
    struct held *parked; /* chunks that were run, and whose results wait for credit */
    struct given *given;
    unsigned count, capacity;
    unsigned parked_count, parked_capacity;
    unsigned given_count, given_capacity;
};

/* The first chunk that it runs, as the daemon must see it; NULL when it runs none. */
struct given *worker_runs(const struct worker_model *worker);

/* It is there from now on. */
void worker_start(struct world *world, struct worker_model *worker);
void worker_free(struct worker_model *worker);
/* The core has forgotten this process. */
void worker_bury(struct world *world, struct worker_model *worker);

/*** For process.c ***/

void worker_die(struct world *world, struct worker_model *worker);
void worker_tell(struct world *world, struct worker_model *worker, uint64_t chunk, struct batch *batch,
                 bool last, int64_t run_ns);
/* Takes the chunk at this place out of its queue. */
void worker_remove_held(struct worker_model *worker, unsigned at);

/*** process.c: results within credit, and parking ***/

/* The part that runs has ended. Returns true when the chunk has left the queue. */
bool process_finish_part(struct world *world, struct worker_model *worker);
/* Something is said of a chunk that is parked; false: it is not. */
bool process_obey_parked(struct world *world, struct worker_model *worker, unsigned type, uint64_t chunk);
void process_grant(struct world *world, struct worker_model *worker, uint64_t chunk, uint64_t bytes);
void process_lend(struct world *world, struct worker_model *worker, const struct packet *packet);

#endif
