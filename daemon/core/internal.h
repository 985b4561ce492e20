/*
 * The core's inner structures, for the files of daemon/core only. Who points at whom:
 *
 *   core ── owners ── jobs ── segments (items that no worker has)
 *     │        │        └──── chunks (what workers hold, or have answered and is not sent) ── blocks of
 * results └─ workers ──────────────┘
 */
#ifndef PMAP_CORE_INTERNAL_H
#define PMAP_CORE_INTERNAL_H

#include "daemon/core/core.h"
#include "daemon/core/share.h"

#include <bsd/sys/tree.h>
#include <sys/queue.h>

enum { WINDOW_DEFAULT = 4 << 20, QUEUE_DEPTH_DEFAULT = 32 };
#define QUEUE_AHEAD_DEFAULT_NS INT64_C(1000000)
/* How much longer than expected a chunk may run before what is queued behind it is taken back. */
#define OVERRUN_NS INT64_C(2000000)

/* Items that no worker has: a run of consecutive indices in one batch. */
struct segment {
    TAILQ_ENTRY(segment) link;
    uint64_t first;
    struct slice items; /* holds a reference of its batch */
};

/* Results, as a worker sent them: consecutive indices, or one piece of one result. */
struct block {
    STAILQ_ENTRY(block) link;
    struct batch *batch; /* a reference */
    uint64_t first;
    uint64_t input_cost; /* of the items that are finished with it: 0 for a piece whose next comes later */
};
STAILQ_HEAD(block_list, block);

/* A message of results whose credit has not come back. */
struct sent {
    STAILQ_ENTRY(sent) link;
    uint64_t cost, input_cost;
};

enum control { CONTROL_NONE, CONTROL_YIELD, CONTROL_RECALL, CONTROL_DROP };

struct chunk {
    TAILQ_ENTRY(chunk) worker_link; /* in the order in which the worker runs them; only while worker is set */
    TAILQ_ENTRY(chunk) job_link;    /* in the order of indices */
    TAILQ_ENTRY(chunk) control_link; /* in core->controls while control is set */
    uint64_t id;
    struct job *job;
    struct worker *worker; /* NULL once it has had its worker's last word */
    uint64_t first;
    struct slice items; /* holds a reference */
    uint32_t done;      /* items with a whole result */
    size_t done_offset; /* bytes of these items, in the slice */
    bool in_piece;      /* part of the next item's result has come */
    int64_t expected_ns;
    int64_t started_ns;   /* when it took its slot; meaningless while it is queued */
    int64_t run_ns;       /* that the worker has told of so far */
    int64_t item_run_ns;  /* of that, since an item was last finished */
    struct segment *rest; /* room for what is handed back, so that handing back cannot fail */
    enum control control; /* to be sent */
    enum control asked;   /* sent, or to be sent: the strongest so far */
    struct block_list blocks;
};
TAILQ_HEAD(chunk_list, chunk);

struct worker {
    TAILQ_ENTRY(worker) link; /* in idle, hungry or full */
    struct worker_list *list;
    void *cookie;
    struct chunk_list chunks; /* the first one runs */
    uint32_t depth;           /* chunks in all */
    int64_t queued_ns;        /* expected time of all but the first */
};
TAILQ_HEAD(worker_list, worker);

RB_HEAD(job_refs, job);
RB_HEAD(job_ids, job);
RB_HEAD(job_shares, job);
RB_HEAD(owner_uids, owner);
RB_HEAD(owner_shares, owner);

struct owner {
    RB_ENTRY(owner) uid_link;
    TAILQ_ENTRY(owner) refused_link; /* in core->refused while `refused` is not empty */
    RB_ENTRY(owner) share_link;      /* in core->runnable while `runnable` */
    uid_t uid;
    struct owner_limits limits;
    struct share share;
    bool runnable;
    bool changed;             /* its limits, and its jobs have not been looked at since */
    double present;           /* virtual time of the job that was served last */
    struct job_shares jobs;   /* those that could have a chunk cut */
    TAILQ_HEAD(, job) capped; /* those that could, were it not for a cap on slots */
    uint32_t sessions, open_jobs;
    uint32_t lanes;            /* workers that hold a chunk of this owner's */
    uint32_t lanes_before;     /* when its cap was changed last: no more than these may exceed it */
    uint32_t in_flight;        /* chunks at workers */
    uint64_t granted;          /* sum of its jobs' input windows */
    TAILQ_HEAD(, job) refused; /* jobs whose large items wait until they may exceed the limits */
    struct job *oversized;     /* the job that may hold more than the owner's limit for one large item */
    uint64_t queued_items, held_bytes, items_done;
    int64_t run_ns, cpu_ns;
};

struct session {
    LIST_ENTRY(session) link;
    struct owner *owner;
    void *cookie;
    bool blocked; /* its jobs are not in the outbox */
    struct job_refs jobs;
};

struct job {
    RB_ENTRY(job) ref_link;       /* in its session's, while session is set */
    RB_ENTRY(job) id_link;        /* in core->jobs, likewise */
    RB_ENTRY(job) share_link;     /* in owner->jobs while `runnable` */
    TAILQ_ENTRY(job) capped_link; /* in owner->capped while `capped` */
    TAILQ_ENTRY(job) out_link;    /* in core->outbox while `queued_out` */
    LIST_ENTRY(job) orphan_link;
    TAILQ_ENTRY(job) refused_link; /* in owner->refused while `refused` */
    uint64_t id, ref;
    struct session *session; /* NULL: an orphan, which only waits for its chunks */
    struct owner *owner;
    const void *function;
    struct job_options options;
    struct share share;
    bool runnable, capped, queued_out, opened, cancelled, refused;

    /* Input. in_credit + in_held + in_owed == in_window + in_extra, always. */
    TAILQ_HEAD(segment_list, segment) segments; /* ascending */
    uint64_t queued_items;
    uint64_t next_index; /* of the next item to come */
    bool ended;          /* next_index is the total */
    struct range *done;  /* ranges that are not wanted, from `done_at` on still ahead */
    uint32_t done_count, done_at;
    struct batch *gather; /* small batches are copied together in here; a segment's, no reference */
    struct batch *piece, *piece_last; /* a large item that is still arriving; a reference */
    uint64_t piece_size, piece_cost;
    int64_t in_credit;  /* what the client may still send */
    uint64_t in_held;   /* cost of what came and is not delivered */
    uint64_t in_owed;   /* cost of what was delivered and not told */
    uint64_t in_window; /* the grant */
    uint64_t in_extra;  /* granted over it for a large item */

    /* Results */
    struct chunk_list chunks;  /* unfinished, or with blocks that wait for their turn; ascending */
    struct block_list ready;   /* to be sent, in order */
    struct chunk *piece_owner; /* unordered: whose large result is going out, so that no other gets between */
    uint64_t held;             /* cost of all blocks */
    uint64_t in_flight_cost;   /* input cost of unfinished items of chunks at workers */
    bool sent_piece;           /* the last one that went out was a piece whose next comes */
    int64_t out_credit;        /* what may still be sent */
    STAILQ_HEAD(sent_list, sent) sent;
    uint64_t sent_cost; /* sum of `sent`, less what has been given back of its first */
    uint64_t acked;     /* given back, of the first of `sent` */

    uint32_t lanes;             /* workers that hold a chunk of it */
    uint32_t in_flight;         /* chunks at workers */
    uint32_t running;           /* those that hold a slot */
    double item_ns;             /* expected time per item; 0: unknown */
    double growth;              /* cost of results per cost of input, so far */
    uint64_t cost_in, cost_out; /* of finished items */
    bool measured;
    uint32_t last_count;
    int64_t opened_ns;
    bool started;
    struct job_report report;
};

/* A free list of equal structures. */
struct spare {
    void *first;
    size_t size;
};
void *spare_take(struct spare *spare); /* zeroed; NULL when memory is short */
void spare_give(struct spare *spare, void *object);
void spare_free(struct spare *spare);

struct core {
    struct core_config config;
    struct owner_uids owners;
    struct owner_shares runnable;
    double present; /* virtual time of the owner that was served last */
    LIST_HEAD(, session) sessions;
    struct job_ids jobs;
    LIST_HEAD(, job) orphans;
    bool changed;                          /* an owner's limits have */
    TAILQ_HEAD(job_queue, job) outbox;     /* jobs that may have something to tell their sessions */
    struct chunk_list controls;            /* chunks whose worker is to be told something */
    struct worker_list idle, hungry, full; /* no chunk; room for queued ones; none */
    uint32_t worker_count, runnable_owners, runnable_jobs, capped_jobs;
    int64_t next_check_ns; /* when running chunks are to be looked at */
    uint64_t next_job, next_chunk;
    uint64_t granted;            /* sum of all input windows */
    struct job *oversized;       /* the job that may hold more than the daemon's limit for one large item */
    TAILQ_HEAD(, owner) refused; /* those with refused jobs, who has waited longest first */
    uint32_t session_count, owner_count, job_count, orphan_chunks;
    uint64_t queued_items, held_bytes;
    uint64_t jobs_done, items_done, items_failed, chunks_done;
    int64_t run_ns, cpu_ns;
    struct spare spare_segments, spare_blocks, spare_chunks, spare_sent;
    /* What the last action points to, let go at the next call. */
    struct batch *out[RESULTS_BLOCKS_MAX];
    size_t out_count;
    struct batch *out_items;
    struct job *out_job; /* has ended with that action */
};

RB_PROTOTYPE(job_refs, job, ref_link, job_ref_compare)
RB_PROTOTYPE(job_ids, job, id_link, job_id_compare)
RB_PROTOTYPE(job_shares, job, share_link, job_share_compare)
RB_PROTOTYPE(owner_uids, owner, uid_link, owner_uid_compare)
RB_PROTOTYPE(owner_shares, owner, share_link, owner_share_compare)

/*** core.c ***/

/* Lets go what the last action pointed to: first in each function that the broker calls. */
void settle_last_action(struct core *core);

/*** order.c: who is next ***/

/* Puts the job into its owner's tree, and the owner into the core's, or takes them out, as their state has it
 * now. */
void order_update(struct core *core, struct job *job, int64_t now_ns);
/* Their shares have changed: puts both where they belong. */
void order_moved(struct core *core, struct job *job, int64_t now_ns);
/* The job whose turn it is, or NULL. */
struct job *order_pick(struct core *core, int64_t now_ns);
/* Could a chunk be cut from it, caps on slots left aside? */
bool order_has_work(const struct job *job);
/* Do as many workers hold a chunk of it, or of its owner's, as may? */
bool order_capped(const struct job *job);
/* The owner's lanes have come below its cap, or up to it: all of its jobs are looked at. */
void order_owner_freed(struct core *core, struct owner *owner, int64_t now_ns);
void order_owner_full(struct core *core, struct owner *owner, int64_t now_ns);
/* It has another weight or cap than before. */
void order_owner_changed(struct core *core, struct owner *owner, int64_t now_ns);
/* Slots that it may use at most. */
uint32_t order_slots(const struct core *core, const struct job *job);

/*** job.c: what comes in and goes out ***/

/* Adds the job to the outbox. */
void job_tell(struct core *core, struct job *job);
/* The next thing to tell its session; false: nothing now. */
bool job_next(struct core *core, struct job *job, struct action *action, int64_t now_ns);
/* Its session is gone, or has had DONE(cancelled): what is at workers is dropped, and it is freed with the
 * last of that. */
void job_orphan(struct core *core, struct job *job, int64_t now_ns);
/* Drops all input and results that no worker holds. */
void job_drop(struct core *core, struct job *job);
/* Frees it; nothing of it may be at a worker. */
void job_free(struct core *core, struct job *job);
/* Index from which the next chunk is cut. There is one (queued_items > 0). */
struct slice job_cut(struct core *core, struct job *job, uint32_t count, size_t size, uint64_t *first);
/* The chunk's items without a result are to be cut anew, before all that is behind them. */
void job_hand_back(struct core *core, struct chunk *chunk);
/* Gives input credit back for what was delivered, or more of it for a large item, and tells the session when
 * it is time. */
void job_credit_input(struct core *core, struct job *job);
/* Gives each owner's first job whose large item had to wait more credit, where the limits allow it now. */
void job_try_refused(struct core *core);

/*** results.c: ordering ***/

/* Results of the next records of a chunk, whose items cost input_cost. 0 or -ENOMEM. */
int results_add(struct core *core, struct chunk *chunk, struct batch *batch, uint64_t input_cost);
/* The item that the chunk's worker was in the middle of fails: part of its result may have gone out. 0 or
 * -ENOMEM. */
int results_break(struct core *core, struct chunk *chunk);
/* Moves what may go out now to the job's ready list, and frees chunks that are through. changed: the chunk
 * that has more results, or has had its worker's last word. */
void results_flush(struct core *core, struct job *job, struct chunk *changed);
/* The next message of results, into *action; false when there is none or no credit for it. */
bool results_next(struct core *core, struct job *job, struct action *action);
/* Drops a list of blocks of this job. */
void results_drop(struct core *core, struct job *job, struct block_list *blocks);

/*** chunks.c: what workers do ***/

void chunk_free(struct core *core, struct chunk *chunk);

/* Cuts the next chunk and gives it to a worker; NULL when none is due. */
struct chunk *chunks_dispatch(struct core *core, int64_t now_ns);
/* Asks for something to be sent to the chunk's worker, unless something as strong was. */
void chunks_control(struct core *core, struct chunk *chunk, enum control control);

#endif
