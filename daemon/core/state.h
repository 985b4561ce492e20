/*
 * The core's inner structures, for the files of daemon/core only; what these do for each other is in
 * internal.h. Who points at whom:
 *
 *   core ── owners ── jobs ── segments (items that no worker has)
 *     │        │        └──── chunks (what workers hold, or have answered and is not sent) ── blocks of
 * results └─ crews ── workers ─────┘
 */
#ifndef PMAP_CORE_STATE_H
#define PMAP_CORE_STATE_H

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
    double learnt_ns;         /* what it rests on once measured: time of the latest items */
    double learnt_items;      /* and their number, the older ones counted for less */
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

#endif
