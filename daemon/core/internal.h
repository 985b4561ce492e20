/*
 * The core's inner structures, for the files of daemon/core only. Who points at whom:
 *
 *   core ── owners ── jobs ── segments (items that no worker has)
 *     │        │        └──── chunks (what workers hold, or have answered and is not sent) ── blocks of
 * results └─ crews ── workers ─────┘
 */
#ifndef PMAP_CORE_INTERNAL_H
#define PMAP_CORE_INTERNAL_H

#include "daemon/core/core.h"
#include "daemon/core/heap.h"
#include "daemon/core/share.h"

#include <bsd/sys/tree.h>
#include <sys/queue.h>

enum { WINDOW_DEFAULT = 4 << 20, QUEUE_DEPTH_DEFAULT = 32 };
#define QUEUE_AHEAD_DEFAULT_NS INT64_C(1000000)
/* How much longer than expected a chunk may run before what is queued behind it is taken back. */
#define OVERRUN_NS INT64_C(2000000)
/* While others wait a chunk takes this part of its target, and until so many targets after that. */
enum { CROWDED_PART = 2, CROWDED_TARGETS = 10 };
/* What a chunk should take at most when all wait for the daemon's end. */
#define STOPPED_TARGET_NS INT64_C(10000000)

/* Of processes; see struct core_config. */
enum { FIRST_CREDIT_DEFAULT = 64 << 10, HEAD_CREDIT_DEFAULT = 1 << 20, WORKER_CHUNKS_DEFAULT = 100000 };
#define WORKER_IDLE_DEFAULT_NS INT64_C(30000000000)
#define WORKER_AGE_DEFAULT_NS  INT64_C(3600000000000)
#define START_DELAY_DEFAULT_NS INT64_C(100000000)
enum {
    START_DELAY_DOUBLINGS = 6, /* of start_delay_ns at most, cut to: */
    START_DELAY_MOST = 50,     /* of them: 5 s of the default */
    IDLE_PER_SLOT = 4,         /* idle processes of all crews together */
    PARKED_PER_WORKER = 64,    /* over which a worker is given nothing but heads */
    PARKED_PER_SLOT = 4,       /* of a job, over which nothing but its head is begun */
    DEATHS_MOST = 3,           /* of workers with the same item */
};
/* A worker that dies younger than this counts as one that could not be started. */
#define WORKER_YOUNG_NS INT64_C(1000000000)

/* Items that no worker has: a run of consecutive indices in one batch. */
struct segment {
    TAILQ_ENTRY(segment) link;
    uint64_t first;
    struct slice items; /* holds a reference of its batch */
    uint32_t deaths;    /* workers that died while they were on its first item */
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
    /* Among the worker's chunks, in the order in which it runs them, or its parked ones; while worker is set
     */
    TAILQ_ENTRY(chunk) worker_link;
    TAILQ_ENTRY(chunk) job_link;      /* in the order of indices */
    TAILQ_ENTRY(chunk) control_link;  /* in core->controls while control is set */
    TAILQ_ENTRY(chunk) thirst_link;   /* in job->thirsty while `thirsty` */
    TAILQ_ENTRY(chunk) grant_link;    /* in core->grants while granting */
    TAILQ_ENTRY(chunk) borrower_link; /* in core->borrowers while `borrows` */
    TAILQ_ENTRY(chunk) lending_link;  /* in core->lendings while `telling` */
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
    int64_t parked_ns;    /* when it gave it up, its results being still to come; while `parked` */
    int64_t run_ns;       /* that the worker has told of so far */
    int64_t cpu_ns;       /* likewise */
    int64_t item_run_ns;  /* of that, since an item was last finished */
    struct segment *rest; /* room for what is handed back, so that handing back cannot fail */
    enum control control; /* to be sent */
    enum control asked;   /* sent, or to be sent: the strongest so far */
    struct block_list blocks;
    uint64_t held;   /* cost of the blocks */
    uint32_t deaths; /* workers that died while they were on its first item */
    bool parked;
    bool above; /* it was given a slot by the guarantee */
    /* Of a process's chunk: what its worker may still send of results. See grants.c. */
    bool metered, counted, thirsty; /* there is a limit; credit is in job->lent; it is low */
    int64_t credit, low;            /* low: at which there should be more */
    uint64_t grant;                 /* part of credit that the worker has not been told of */
    bool head, granting; /* its worker was, or will be, told that all waits for it; in core->grants */
    /* Of one that runs and may borrow slots; see lend.c. */
    bool borrows, telling;   /* its worker is to be told what it may */
    uint32_t tokens, due;    /* slots that it holds so; of them, those that are to come back */
    uint64_t lent, back;     /* in all so far: lent; and wanted back, as its worker was told last */
    uint64_t called;         /* the most that `back` ever was */
    int64_t tokens_since_ns; /* up to when they were charged */
};
TAILQ_HEAD(chunk_list, chunk);

struct worker {
    TAILQ_ENTRY(worker) link;      /* in its crew's idle or stuffed, in hungry, full or stopping */
    TAILQ_ENTRY(worker) rest_link; /* in core->resting while `resting` */
    RB_ENTRY(worker) look_link;    /* in core->looks while look_ns is a time */
    uint64_t number;               /* so that equal times have an order, and the same in each run */
    struct worker_list *list;
    struct crew *crew;
    void *cookie;
    struct chunk_list chunks; /* the first one runs */
    struct chunk_list parked; /* have run, and their results are still to come */
    uint32_t depth;           /* chunks, without parked ones */
    uint32_t parked_count;
    int64_t queued_ns; /* expected time of all but the first */
    int64_t look_ns;   /* when it is to be looked at: as soon as there may be a reason; INT64_MAX: never */
    bool resting;      /* a process that holds nothing */
    int64_t born_ns, idle_since_ns;
    uint64_t served; /* id of the lasting job that it ran last; 0: none */
    uint64_t ran;    /* chunks */
};
TAILQ_HEAD(worker_list, worker);
RB_HEAD(worker_looks, worker);

/* Workers that are alike: the threads, or processes of one identity. */
struct crew {
    LIST_ENTRY(crew) link;       /* in core->crews */
    TAILQ_ENTRY(crew) want_link; /* in core->wanting while `starved` is not empty */
    void *cookie;
    bool process;
    struct worker_list idle;    /* those without a chunk */
    struct worker_list stuffed; /* likewise, but with so many parked ones that they get heads only */
    TAILQ_HEAD(, job) starved;  /* jobs that could have a chunk run, were there an idle worker */
    uint32_t workers, starting; /* there; asked for and neither come nor failed */
    uint32_t workers_before; /* both, when the number of slots was changed last: no more than these may exceed
                                it */
    uint32_t sessions, jobs;
    uint32_t failures;  /* starts that failed, one after the other */
    int64_t not_before; /* the next start */
};

RB_HEAD(job_refs, job);
RB_HEAD(job_ids, job);
RB_HEAD(owner_uids, owner);
RB_HEAD(levels, level);
RB_HEAD(work_levels, level);

/* An owner's jobs of one priority. */
struct level {
    struct heap runnable;      /* those that could have a chunk cut, by the keys of their shares */
    RB_ENTRY(level) work_link; /* in owner->work while there is such a job */
    RB_ENTRY(level) link;      /* in owner->levels */
    int32_t priority;
    uint32_t jobs;                     /* in all: with the last of them it is freed */
    double present;                    /* virtual time of the job that was served last */
    TAILQ_HEAD(job_list, job) lasting; /* runnable ones that are lasting, the oldest first */
};

/* With many owners or jobs each line of them is a cache miss: what most decisions read is together. */
struct owner {
    struct share share;       /* first, so that it is the owner as well; in core->runnable while `runnable` */
    const struct job *likely; /* the job that may be the next one, or may be gone: only to be prefetched */
    struct work_levels work;  /* those with a runnable job, the highest priority first */
    uint32_t runnable_jobs;   /* in them */
    bool runnable;            /* it has a runnable job, and may have one more slot */
    bool held_up;             /* it has one, and its cap on slots is reached */
    bool unserved;            /* it has work and nothing runs, since unserved_ns */
    bool changed;             /* its limits, and its jobs have not been looked at since */
    uint32_t starved_jobs;
    uint32_t lanes;  /* workers that hold a chunk of this owner's */
    uint32_t tokens; /* slots that its chunks have borrowed */
    struct owner_limits limits;
    uid_t uid;
    RB_ENTRY(owner) uid_link;
    struct levels levels;             /* of its jobs */
    TAILQ_ENTRY(owner) refused_link;  /* in core->refused while `refused` is not empty */
    TAILQ_ENTRY(owner) unserved_link; /* in core->unserved while `unserved` */
    int64_t unserved_ns;
    uint32_t sessions, open_jobs;
    uint32_t lanes_before;     /* lanes when its cap was changed last: no more than these may exceed it */
    uint64_t granted;          /* sum of its jobs' input windows */
    TAILQ_HEAD(, job) refused; /* jobs whose large items wait until they may exceed the limits */
    struct job *oversized;     /* the job that may hold more than the owner's limit for one large item */
    uint64_t queued_items, held_bytes, jobs_done, items_done, items_failed;
    int64_t run_ns, cpu_ns;
    uint64_t waits; /* jobs that have had a first chunk, which took so long to come */
    int64_t wait_ns, longest_wait_ns;
    int64_t used_at[2];    /* share_used at each of core->marks */
    double used, entitled; /* slots, as core_look has found them */
    uint64_t wants;        /* core_look's own: slots that it could use, its cap left aside */
};

/* What was counted at some time, so that one can say later what has come since. */
struct mark {
    int64_t at_ns;
    uint64_t items_done, chunks_done;
};

struct session {
    LIST_ENTRY(session) link;
    struct owner *owner;
    void *cookie;
    struct crew *crew; /* NULL: not known yet */
    bool blocked;      /* its jobs are not in the outbox */
    struct job_refs jobs;
};

struct job {
    struct share share;  /* first, so that it is the job as well; in level->runnable while `runnable` */
    struct level *level; /* of its priority */
    struct owner *owner;
    struct crew *crew;                          /* whose workers run it; NULL: not known yet */
    struct session *session;                    /* NULL: an orphan, which only waits for its chunks */
    TAILQ_HEAD(segment_list, segment) segments; /* items that no worker has; ascending */
    uint64_t queued_items;                      /* in them */
    uint64_t cut_end;                           /* the index behind all that was ever cut */
    struct job_options options;
    bool runnable; /* it could have a chunk cut, whatever its owner may */
    bool capped;   /* it could, were it not for its own cap on slots */
    bool starved, queued_out, opened, cancelled, refused;
    bool process, lasting, exact, tell_over; /* as job_request has it */
    bool measured;                           /* item_ns is of this job's own items */
    bool started;                            /* its first chunk has been */
    bool paused;                             /* nothing of it is begun for now */
    bool halted;                             /* an item has failed, and nothing of it is begun any more */
    bool client_gone;                        /* nobody waits for an orphan's last words */
    struct chunk_list chunks; /* unfinished, or with blocks that wait for their turn; ascending */
    double item_ns;           /* expected time per item; 0: unknown */
    double growth;            /* cost of results per cost of input, so far */
    uint64_t held;            /* cost of all blocks */
    uint64_t in_flight_cost;  /* input cost of unfinished items of chunks at workers, parked ones left out */
    uint64_t in_window;       /* what the client may have sent and not got back: the grant */
    uint32_t last_count;      /* items of the last chunk */
    uint32_t least_count;     /* items that are worth a chunk's own cost; 0: any */
    uint32_t lanes;           /* workers that hold a chunk of it */
    uint32_t in_flight;       /* chunks at workers */
    uint32_t running;         /* slots that it holds: by chunks, and by what they have borrowed */
    uint32_t tokens;          /* of these, borrowed ones */
    uint32_t parked;          /* those that have given it up */
    uint64_t lent;            /* credit that workers have for results of chunks that were begun */

    uint64_t id, ref;
    const void *function;
    RB_ENTRY(job) ref_link;        /* in its session's, while session is set */
    RB_ENTRY(job) id_link;         /* in core->jobs, likewise */
    TAILQ_ENTRY(job) starved_link; /* in crew->starved while `starved` */
    TAILQ_ENTRY(job) lasting_link; /* in level->lasting while `lasting` and `runnable` */
    TAILQ_ENTRY(job) out_link;     /* in core->outbox while `queued_out` */
    LIST_ENTRY(job) orphan_link;   /* in core->orphans, or, when nothing is left of it, in core->over */
    TAILQ_ENTRY(job) refused_link; /* in owner->refused while `refused` */

    /* Input. in_credit + in_held + in_owed == in_window + in_extra, always. */
    uint64_t next_index; /* of the next item to come */
    uint64_t skipped;    /* indices before it whose items are not wanted */
    bool ended;          /* next_index is the total */
    struct range *done;  /* ranges that are not wanted, from `done_at` on still ahead */
    uint32_t done_count, done_at;
    struct batch *gather; /* small batches are copied together in here; a segment's, no reference */
    struct batch *piece, *piece_last; /* a large item that is still arriving; a reference */
    uint64_t piece_size, piece_cost;
    int64_t in_credit; /* what the client may still send */
    uint64_t in_held;  /* cost of what came and is not delivered */
    uint64_t in_owed;  /* cost of what was delivered and not told */
    uint64_t in_extra; /* granted over it for a large item */

    /* Results */
    struct block_list ready;   /* to be sent, in order */
    struct chunk *piece_owner; /* unordered: whose large result is going out, so that no other gets between */
    uint64_t ready_cost;       /* of those in `ready` */
    struct chunk_list thirsty; /* chunks whose worker should have more of it; ascending */
    bool sent_piece;           /* the last one that went out was a piece whose next comes */
    int64_t out_credit;        /* what may still be sent */
    STAILQ_HEAD(sent_list, sent) sent;
    uint64_t sent_cost; /* sum of `sent`, less what has been given back of its first */
    uint64_t acked;     /* given back, of the first of `sent` */

    uint64_t cost_in, cost_out; /* of finished items */
    int64_t opened_ns;
    struct job_report report;
};

/* A free list of equal structures. */
struct spare {
    void *first;
    size_t size;
};
void *spare_take(struct spare *spare); /* zeroed; NULL when memory is short */
void spare_give(struct spare *spare, void *object);

struct core {
    struct core_config config;
    struct owner_uids owners;
    struct heap runnable;         /* owners, by the keys of their shares */
    TAILQ_HEAD(, owner) unserved; /* who has been so for longest first */
    int64_t crowded_ns;           /* when more than one owner had work last; INT64_MIN: never */
    double present;               /* virtual time of the owner that was served last */
    LIST_HEAD(, session) sessions;
    struct job_ids jobs;
    LIST_HEAD(, job) orphans;
    bool changed;                      /* an owner's limits have */
    bool stopped;                      /* nothing is begun any more */
    TAILQ_HEAD(job_queue, job) outbox; /* jobs that may have something to tell their sessions */
    struct chunk_list controls;        /* chunks whose worker is to be told something */
    TAILQ_HEAD(, chunk) grants;        /* chunks whose worker is to be told of more credit */
    TAILQ_HEAD(, chunk) borrowers;     /* chunks that run and may borrow slots */
    TAILQ_HEAD(, chunk) lendings;      /* those of them whose worker is to be told of that */
    struct crew threads;
    LIST_HEAD(, crew) crews;    /* without the threads */
    TAILQ_HEAD(, crew) wanting; /* crews with starved jobs */
    struct worker_list hungry,
        full; /* of all crews: they run a chunk, and have room for queued ones, or none */
    struct worker_list
        resting; /* processes that hold nothing, the one that has longest first; by rest_link */
    struct worker_list stopping; /* to be told so, and forgotten */
    uint32_t resting_count;
    uint32_t running;        /* slots in use: by chunks, and lent to them */
    uint32_t running_before; /* when their number was changed last: no more than these may exceed it */
    uint32_t tokens;         /* the lent ones */
    uint32_t worker_count;
    uint32_t runnable_jobs; /* of the owners in `runnable` */
    uint32_t capped_jobs, held_up_owners;
    struct worker_looks looks; /* by the time at which what they run is to be looked at */
    uint64_t next_job, next_chunk, next_worker;
    uint64_t granted;            /* sum of all input windows */
    struct job *oversized;       /* the job that may hold more than the daemon's limit for one large item */
    TAILQ_HEAD(, owner) refused; /* those with refused jobs, who has waited longest first */
    uint32_t session_count, owner_count, job_count, orphan_chunks;
    uint32_t waiting_jobs; /* open jobs with queued items */
    uint64_t queued_items, held_bytes;
    uint64_t jobs_done, items_done, items_failed, chunks_done;
    int64_t run_ns, cpu_ns;
    struct mark marks[2]; /* the newest one first */
    unsigned mark_count;  /* of them that are set */
    struct spare spare_segments, spare_blocks, spare_chunks, spare_sent;
    /* What the last action points to, let go at the next call. */
    struct batch *out[RESULTS_BLOCKS_MAX];
    size_t out_count;
    struct batch *out_items;
    bool out_last;             /* one of these is set */
    struct job *out_job;       /* has ended with that action */
    struct job *out_over;      /* has been told to be over */
    struct worker *out_worker; /* is to stop */
    LIST_HEAD(, job) over;     /* of which nothing is left, to be told */
};

RB_PROTOTYPE(job_refs, job, ref_link, job_ref_compare)
RB_PROTOTYPE(job_ids, job, id_link, job_id_compare)
RB_PROTOTYPE(levels, level, link, level_compare)
RB_PROTOTYPE(work_levels, level, work_link, level_compare)
RB_PROTOTYPE(owner_uids, owner, uid_link, owner_uid_compare)
RB_PROTOTYPE(worker_looks, worker, look_link, worker_look_compare)

/*** core.c ***/

/* Zeroed memory from the start of a line of the cache on, for free(); NULL when it is short. */
void *allocate_lines(size_t size);
/* Lets go what the last action pointed to: first in each function that the broker calls. */
void settle_last_action(struct core *core);

/*** order.c: who is next ***/

/* The job is opened, and has its place among its owner's others of this priority. Returns 0 or -ENOMEM. */
int order_join(struct job *job, int32_t priority);
/* It will not be runnable again. */
void order_leave(struct job *job);
/* Who has that share. */
struct owner *order_owner(struct share *share);
struct job *order_job(struct share *share);

/* Puts the job among its owner's runnable ones, and the owner among the core's, or takes them out, as their
 * state has it now. */
void order_update(struct core *core, struct job *job, int64_t now_ns);
/* The same for all jobs: what they may use has changed. */
void order_update_all(struct core *core, int64_t now_ns);
/* The same where nothing of a job has changed but its items and results: a chunk of it was cut, or answered.
 */
void order_ran(struct core *core, struct job *job, int64_t now_ns);
/* Is there nobody whose key tells anything? Jobs of owners at their cap wait among themselves. */
static inline bool order_is_alone(const struct core *core)
{
    return core->runnable_jobs <= 1 && core->held_up_owners == 0;
}
/* Both have another place in the order than before: a later one, or an earlier one. */
void order_move_back(struct core *core, struct job *job, int64_t now_ns);
void order_move_on(struct core *core, struct job *job, int64_t now_ns);
/* A chunk of the job was given to a worker: others come before it and its owner now. */
static inline void order_served(struct core *core, struct job *job, int64_t now_ns)
{
    if (!order_is_alone(core))
        order_move_back(core, job, now_ns);
}
/* Less is charged to both, or waits for them, than before. More of it need not be told; see share.h. */
static inline void order_moved(struct core *core, struct job *job, int64_t now_ns)
{
    if (!order_is_alone(core))
        order_move_on(core, job, now_ns);
}
/* The job whose turn it is, or NULL. */
struct job *order_pick(struct core *core, int64_t now_ns);
/* The same among the jobs of this owner alone. */
struct job *order_pick_of(struct owner *owner, int64_t now_ns);
/* Could a chunk be cut from it, caps on slots and want of workers left aside? */
bool order_has_work(const struct core *core, const struct job *job);
/* Is what would be cut next its head? There is something (queued_items > 0). */
bool order_next_is_head(const struct job *job);
/* May it not be run twice, and is there something before what was begun of it? Without that the results
 * behind could not go out, so it is begun also by a daemon that stops. */
bool order_has_gap(const struct job *job);
/* The job, whose turn it was, has to wait until a worker of its crew is idle. */
void order_starve(struct core *core, struct job *job, int64_t now_ns);
/* A worker of this crew is idle: its jobs wait no longer. */
void order_feed(struct core *core, struct crew *crew, int64_t now_ns);
/* Do as many workers hold a chunk of it, or of this owner's, as may? */
bool order_capped(const struct job *job);
bool order_owner_capped(const struct owner *owner);
/* Puts the owner among the core's runnable ones, or takes it out, as its jobs and its cap have it now. */
void order_owner_update(struct core *core, struct owner *owner, int64_t now_ns);
/* It has another weight or cap than before. */
void order_owner_changed(struct core *core, struct owner *owner, int64_t now_ns);
/* Slots that it may use at most. */
uint32_t order_slots(const struct core *core, const struct job *job);

/*** guarantee.c: who has waited for too long ***/

/* What the owner has to do, or what runs of it, has changed: has it work and nothing running? */
void guarantee_look(struct core *core, struct owner *owner, int64_t now_ns);
/* The job of an owner that is to have a slot above the pool's number now, and an idle worker for it; NULL
 * when there is none. */
struct job *guarantee_pick(struct core *core, struct worker **worker, int64_t now_ns);
/* When guarantee_pick may find one at the earliest. */
int64_t guarantee_deadline(const struct core *core);

/*** job.c: its life, and what goes out ***/

/* Adds the job to the outbox. */
void job_tell(struct core *core, struct job *job);
/* The next thing to tell its session; false: nothing now. */
bool job_next(struct core *core, struct job *job, struct action *action, int64_t now_ns);
/* Its session is gone, or has had DONE(cancelled): what is at workers is dropped, and it is freed with the
 * last of that. */
void job_orphan(struct core *core, struct job *job, int64_t now_ns);
/* Nothing of it is at a worker: frees it, or has that told first. */
void job_free(struct core *core, struct job *job);
/* Frees its memory. */
void job_destroy(struct job *job);

/*** input.c: what the client may send, and what has come ***/

/* The job is opened: its owner is known, nothing has come. Returns 0 or -ENOMEM. */
int input_begin(struct core *core, struct job *job, const struct job_request *request);
/* Items of this cost have been delivered: their credit is owed, which input_settle gives back. */
void input_delivered(struct core *core, struct job *job, uint64_t cost);
/* Gives credit back for what was delivered, or more of it for a large item: tells the session when it is
 * time.
 */
void input_settle(struct core *core, struct job *job);
/* The credit that is to be given back now; false: none. */
bool input_next_credit(struct job *job, struct action *action);
/* Gives each owner's first job whose large item had to wait more credit, where the limits allow it now. */
void input_try_refused(struct core *core);
/* Drops what no worker holds. */
void input_drop(struct core *core, struct job *job);
/* The job is over: others may have its window. */
void input_end(struct core *core, struct job *job);

/*** cut.c: from segments to chunks and back ***/

void cut_add_queued(struct core *core, struct job *job, uint64_t count);
void cut_sub_queued(struct core *core, struct job *job, uint64_t count);
/* Has an exact job as many items as a chunk of it must have, or as it will get? */
bool cut_is_due(const struct job *job);
/*
 * Cuts the next chunk's items off the job, which has some (queued_items > 0): `chunk` gets first, items and
 * deaths. count: how many at most, if the job is not exact. Returns 0 or -ENOMEM.
 */
int cut_next(struct core *core, struct job *job, uint32_t count, struct chunk *chunk);
/* The chunk's items without a result are to be cut anew, before all that is behind them; so many workers have
 * died on the first of them. */
void cut_hand_back(struct core *core, struct chunk *chunk, uint32_t deaths);
/* Leaves the first `count` of the chunk's items without a result to it, and hands the others back. Returns 0
 * or -ENOMEM. */
int cut_shorten(struct core *core, struct chunk *chunk, uint32_t count);
/* The first segment becomes a chunk that no worker has, for results that need none; NULL when memory is
 * short. */
struct chunk *cut_void(struct core *core, struct job *job);
/* The next `count` items of the chunk without a result. */
struct slice cut_unanswered(const struct chunk *chunk, uint32_t count);

/*** halt.c: jobs that stop before their end ***/

/* Has one of the results failed by itself? */
bool halt_is_due(const struct batch *results);
/* Nothing of the job is begun any more. */
void halt_job(struct core *core, struct job *job, int64_t now_ns);
/* What waits in segments of a halted job is answered. */
void halt_queued(struct core *core, struct job *job, int64_t now_ns);
/* The rest of a halted job's chunk, which its worker has handed back, is answered. Returns 0 or -ENOMEM. */
int halt_rest(struct core *core, struct chunk *chunk);

/*** results.c: ordering ***/

/* Results of the next records of a chunk, whose items cost input_cost. 0 or -ENOMEM. */
int results_add(struct core *core, struct chunk *chunk, struct batch *batch, uint64_t input_cost);
/* The next `count` items of the chunk, which its worker no longer answers, fail: a note of this kind says
 * why. 0 or -ENOMEM: then some may have. */
int results_fail(struct core *core, struct chunk *chunk, uint32_t count, uint16_t kind, const char *why);
/* Moves what may go out now to the job's ready list, and frees chunks that are through. changed: the chunk
 * that has more results, or has had its worker's last word. */
void results_flush(struct core *core, struct job *job, struct chunk *changed);
/* The next message of results, into *action; false when there is none or no credit for it. */
bool results_next(struct core *core, struct job *job, struct action *action);
/* Drops what is ready, or what a chunk has. */
void results_drop_ready(struct core *core, struct job *job);
void results_drop_chunk(struct core *core, struct chunk *chunk);

/*** grants.c: credit for what processes answer ***/

/* The chunk goes to a process. */
void grants_begin(struct core *core, struct chunk *chunk);
/* It is begun: its credit counts. */
void grants_count(struct chunk *chunk);
/* Its worker has sent results. */
void grants_use(struct chunk *chunk, uint64_t cost);
/* Its worker will send no more. */
void grants_end(struct core *core, struct chunk *chunk);
/* Gives the job's chunks what they may have now. */
void grants_look(struct core *core, struct job *job);
/* ACTION_GRANT, when one is due. */
bool grants_next(struct core *core, struct action *action);

/*** lend.c: slots that are lent to running chunks ***/

/* The chunk, of a job with a jobserver, has taken its slot; or is about to give it up, and all that it
 * borrowed with it. */
void lend_begin(struct core *core, struct chunk *chunk);
void lend_end(struct core *core, struct chunk *chunk, int64_t now_ns);
/* Lends what is free, or calls back what somebody waits for. */
void lend_look(struct core *core, int64_t now_ns);
/* ACTION_LEND, when one is due. */
bool lend_next(struct core *core, struct action *action);
/* For core_check: NULL, or what is wrong. */
const char *lend_check(const struct core *core);

/*** workers.c: crews, and which of their workers is there for whom ***/

void crew_init(struct crew *crew);
/* Slots: chunks that may run at once. */
static inline uint32_t slots_of(const struct core *core)
{
    return core->config.slots != 0 ? core->config.slots : core->threads.workers;
}

static inline bool slot_free(const struct core *core)
{
    return core->running < slots_of(core);
}

/* Chunks that may run with those of the guarantee. */
static inline uint32_t slots_most(const struct core *core)
{
    uint32_t above = core->config.guarantee_max != 0 ? core->config.guarantee_max : slots_of(core);
    return slots_of(core) + (core->config.guarantee_after_ns != 0 ? above : 0);
}

/* Chunks that the job's queued items could make now, at most. */
uint64_t chunks_left(const struct job *job);
/* Is there a worker that has nothing to do and may run what would be cut next of the job? */
bool worker_for(const struct job *job);
/* The one that suits best; NULL when there is none. */
struct worker *worker_choose(struct core *core, const struct job *job);
/* Should another worker of this crew be started, the delay after failures left aside? */
bool start_is_wanted(const struct core *core, const struct crew *crew);
/* Puts the worker into the list where it belongs now. */
void worker_relist(struct core *core, struct worker *worker, int64_t now_ns);
/* ACTION_START and ACTION_STOP, when one is due. */
bool workers_next(struct core *core, struct action *action, int64_t now_ns);
/* When time alone makes something of workers due. */
int64_t workers_deadline(const struct core *core);
/* The number of slots is another one: lets those go that rest and are too many for it. */
void workers_configured(struct core *core, int64_t now_ns);
/* Lets those go that have rested for long. */
void workers_tick(struct core *core, int64_t now_ns);
/* It is no longer there. */
void worker_forget(struct core *core, struct worker *worker, int64_t now_ns);
/* Frees all that is left of workers and crews. */
void workers_free(struct core *core);

/*** chunks.c: what workers do ***/

void chunk_free(struct core *core, struct chunk *chunk);
/* Puts it into its job's list. */
void chunk_insert(struct job *job, struct chunk *chunk);
/* Takes it out of its worker's queue, whose next chunk starts if this one ran. correct: its run_ns is the
 * whole truth. */
void chunks_leave_queue(struct core *core, struct chunk *chunk, bool correct, int64_t now_ns);
/* Takes it off its worker, whose last word on it has come. */
void chunks_leave_worker(struct core *core, struct chunk *chunk, bool correct, int64_t now_ns);

/* Cuts the next chunk and gives it to a worker; NULL when none is due. */
struct chunk *chunks_dispatch(struct core *core, int64_t now_ns);
/* Asks for something to be sent to the chunk's worker, unless something as strong was. */
void chunks_control(struct core *core, struct chunk *chunk, enum control control);
/* Has all that runs and could stop between two items looked at soon. */
void chunks_look_soon(struct core *core, int64_t now_ns);
/* The worker is not looked at any more. */
void chunks_stop_looking(struct core *core, struct worker *worker);
/* Asks for all that the job has at workers: what was begun is to stop where it can, the rest to come back. */
void chunks_call_back(struct core *core, struct job *job);

#endif
