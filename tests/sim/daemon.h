/*
 * The daemon of the simulation: the real core, between links instead of sockets. Every event is told to the
 * core and written into a ledger of its own, in which a job's items are followed one by one; actions are
 * checked against the ledger before they are sent.
 */
#ifndef SIM_DAEMON_H
#define SIM_DAEMON_H

#include "tests/sim/client.h"
#include "tests/sim/worker.h"

/* Where an item is, as the daemon must see it. */
enum item_state { ITEM_UNKNOWN, ITEM_QUEUED, ITEM_GIVEN, ITEM_FINISHED, ITEM_SENT };

/* One OPEN, as the daemon must keep it. It is the `function` of the core's job. */
struct ledger {
    struct ledger *next; /* in the world, the latest first */
    struct sim_job *job;
    struct connection *connection;
    uint64_t id; /* the core's; 0: not known yet */
    bool open;   /* not DONE, and its session is there */
    bool whole;  /* its OPEN said the end: no OPENED and no credit */
    bool cancelled;
    bool ended; /* the end was said */
    uint64_t first, next_in, next_out;
    struct range *done;
    uint32_t done_count;
    bool paused, halted;
    bool over;          /* the core has nothing of it any more */
    uint8_t *items;     /* an enum item_state each */
    uint8_t *killed;    /* workers that died with each */
    uint32_t parked;    /* chunks */
    uint64_t unwanted;  /* items in done, or before first */
    uint32_t running;   /* workers whose first chunk is one of it: counted anew at each check */
    int64_t waiting_ns; /* since when it could use a worker that is not there; INT64_MAX: it could not */
    uint64_t received;  /* items that have come */
    uint64_t queued;    /* items that no worker has */
    uint64_t sent, failed, bytes_in, bytes_out;
    int64_t run_ns; /* of WORKED; exact while no worker has died */
    bool worker_died;
    uint64_t in_granted, in_used; /* input credit; in_granted 0 until OPENED, and of a whole job */
    uint64_t in_window;           /* the first grant */
    uint64_t out_window, out_sent, out_back;
    uint64_t most_message; /* cost of the largest message of items so far */
    uint64_t most_item;    /* cost of the largest item in pieces that has begun to come */
    uint64_t held;         /* cost of results that have come and were not sent */
    uint64_t at_workers;   /* cost of the results of what workers hold; and the most of that so far */
    uint64_t at_workers_most;
    uint64_t inputs_at_workers;         /* cost of these items */
    uint64_t finished_in, finished_out; /* cost of finished items and of their results */
};

/* A client's packet has arrived; false: it was not taken over. */
bool daemon_receive(struct world *world, struct packet *packet);
/* A worker's has. */
bool daemon_from_worker(struct world *world, struct packet *packet);

/* Lets the core's actions out, unless they are left for later; then checks what can be checked. force: now.
 */
void daemon_turn(struct world *world, bool force);

/* daemon_turn, to be scheduled. */
void daemon_turn_event(struct world *world, void *target, uint64_t argument);
/* Lets the core's actions out, and no more. */
void daemon_act(struct world *world);
void daemon_close_session(struct world *world, struct connection *connection);

/* A new worker is there, which may be a process that was asked for. */
void daemon_add_worker(struct world *world, struct worker_model *worker);

void ledger_free_all(struct world *world);

/*** ledger.c: what is written, and checked against it ***/

struct ledger *ledger_open(struct world *world, struct connection *connection, const struct packet *packet);
void ledger_items(struct world *world, struct ledger *ledger, const struct batch *batch, uint64_t first);
void ledger_closed(struct world *world, struct ledger *ledger);
/* The open one of this session and number; NULL when there is none. */
struct ledger *ledger_find(struct world *world, const struct connection *connection, uint64_t ref);
void ledger_chunk(struct world *world, struct worker_model *worker, const struct action *action);
/* Was the item begun, or given away, and is its result still here? */
bool ledger_is_begun(const struct ledger *ledger, uint64_t index);
/* Is it before such an item of a job that may not be run twice, whose results must come in order? */
bool ledger_has_gap(const struct ledger *ledger, uint64_t index);
void ledger_asked(struct world *world, struct worker_model *worker, const struct action *action);
void ledger_worked(struct world *world, struct worker_model *worker, const struct packet *packet);
void ledger_parked(struct world *world, struct worker_model *worker, const struct packet *packet);
void ledger_granted(struct world *world, struct worker_model *worker, const struct action *action);
void ledger_lent(struct world *world, struct worker_model *worker, const struct action *action);
void ledger_returned(struct world *world, struct worker_model *worker, const struct packet *packet);
void ledger_over(struct world *world, const struct action *action);
void ledger_worker_gone(struct world *world, struct worker_model *worker);
void ledger_results(struct world *world, struct ledger *ledger, const struct action *action);
void ledger_done(struct world *world, struct ledger *ledger, const struct job_report *report);
void ledger_opened(struct world *world, struct ledger *ledger, const struct action *action);
void ledger_credit(struct world *world, struct ledger *ledger, uint64_t bytes);

/*** check.c ***/

/* Workers that hold something of this owner's, and what is lent to these. */
unsigned daemon_slots_of(const struct world *world, const struct owner *owner);

/* Promises that are seen from the whole state, once all actions are out. */
void check_turn(struct world *world);
/* All is closed: nothing may be left. */
void check_end(struct world *world);

#endif
