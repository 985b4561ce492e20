/*
 * The core: sessions, jobs, the scheduler, the chunker and the pool's state. It decides; the broker moves.
 * Events and the time go in (the functions below), actions come out (core_next). There is no socket, no
 * clock, no process and no log in it, so the same code runs in the daemon and under the simulation.
 *
 * Time is int64 ns of any monotonic clock; it must never go back from call to call.
 * Thread-safety: none; the broker's thread owns the whole core.
 * Ownership: structs session, job and worker belong to the core and are opaque; each lives until the event
 * that ends it (core_session_close, core_worker_gone; a job: until its ACTION_DONE, or the
 * ACTION_RESULTS that has it, has come out, or its session has closed). A batch is borrowed for the call, and
 * the core takes a reference of its own where it keeps it. Cost: the hot path (items, results, next)
 * allocates only when a free list is empty; a decision is O(log owners).
 */
#ifndef PMAP_CORE_H
#define PMAP_CORE_H

#include "common/batch.h"
#include "common/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct core;
struct session; /* one connected client */
struct job;     /* one map call of a session */
struct worker;  /* what runs chunks, one at a time: a thread of the daemon, or a process of a user's */
struct crew;    /* the processes that are alike: of one user, with the same groups and limits */

struct core_config {
    uint32_t slots;          /* chunks that may run at once; 0: as many as there are threads */
    int64_t chunk_target_ns; /* what a chunk should take */
    uint64_t queued_bytes;   /* input and results held for all owners together */
    uint64_t
        job_window; /* most credit for input, and most results held, of one job; 0: the default (4 MiB) */
    uint32_t queue_depth; /* most chunks queued ahead at a worker; 0: the default (32) */
    int64_t
        queue_ahead_ns; /* what may be queued ahead at a worker, in expected time; 0: the default (1 ms) */
    /* Of processes; 0: the default */
    uint64_t first_credit;  /* for results of a chunk, before any are there; 64 KiB */
    uint64_t head_credit;   /* what the chunk may have for which all others wait, and how much of it may wait
                               for   the client; 1 MiB */
    int64_t worker_idle_ns; /* after which an idle one is stopped; 30 s */
    int64_t worker_age_ns;  /* after which it is when it is idle; 1 h */
    uint64_t worker_chunks; /* after which it is when it is idle; 100000 */
    int64_t start_delay_ns; /* after a start that failed; doubled for each further one, to 50 times; 100 ms */
    int64_t guarantee_after_ns; /* how long an owner with work may have nothing running before it gets a slot
                                   above `slots`; 0: for ever */
    uint32_t guarantee_max;     /* slots above `slots` at most; 0: as many again */
};

/* What an owner may have; given with each session. Sessions may differ, by their groups: the most that any of
 * them was given since there was none holds. */
struct owner_limits {
    uint32_t weight;       /* at least 1 */
    uint32_t slots;        /* most slots at once; 0: no cap */
    uint32_t jobs;         /* most open jobs */
    uint64_t queued_bytes; /* unfinished input and untaken results of all the owner's jobs; one item may
                              exceed it */
};

/* NULL when memory is short. */
struct core *core_new(const struct core_config *config);
/*
 * From now on these hold: slots, chunk_target_ns, queued_bytes, guarantee_after_ns, guarantee_max; of the
 * others those that core_new was given. Nothing that runs is touched: with fewer slots than chunks that run,
 * nothing is begun until they are few enough. Further threads are the caller's to add.
 */
void core_configure(struct core *core, const struct core_config *config, int64_t now_ns);
/* Gives back what is kept to be used again: for when nothing has run for a while. At any time. */
void core_rest(struct core *core);
/* Frees everything, whatever is under way. NULL is accepted. */
void core_free(struct core *core);

/*** Sessions ***/

/*
 * A client of this owner has been welcomed. cookie: the broker's own, see session_cookie.
 * Returns 0 or -ENOMEM.
 */
int core_session_open(struct core *core, uid_t uid, const struct owner_limits *limits, void *cookie,
                      struct session **session);

/* Changes what the session's owner may have, whatever its other sessions were given. */
void core_session_limits(struct core *core, struct session *session, const struct owner_limits *limits);
/* The same, but nothing of it becomes less than it is. */
void core_session_raise(struct core *core, struct session *session, const struct owner_limits *limits);

/* The client is gone: its jobs are dropped without a word, chunks in flight live on as orphans. Frees the
 * session. */
void core_session_close(struct core *core, struct session *session, int64_t now_ns);

/*
 * The client does not read: nothing is to be told to this session (blocked), or it does again. Its results
 * stay where they are meanwhile, so its own jobs stop when their windows are full, and nobody else's.
 */
void core_session_block(struct core *core, struct session *session, bool blocked);

/* Sessions that this owner has now. O(log owners). */
uint32_t core_sessions_of(const struct core *core, uid_t uid);

void *session_cookie(const struct session *session);

/*
 * The processes of this crew may run the session's jobs: until it is said, those that need processes wait.
 * Once.
 */
void core_session_crew(struct core *core, struct session *session, struct crew *crew, int64_t now_ns);

/*** Jobs ***/

struct job_request {
    uint64_t ref;         /* the client's number */
    const void *function; /* the broker's own; comes back with each ACTION_CHUNK */
    int64_t expected_ns;  /* a first guess of the time per item; 0: none, measure first */
    struct job_options options;
    uint64_t credit;          /* for results */
    uint64_t first;           /* index of the first item wanted */
    const struct range *done; /* copied */
    uint32_t done_count;
    bool whole;   /* its OPEN holds all its items: it needs no credit, so there is no ACTION_OPENED */
    bool process; /* it needs a process of its session's crew; else the threads run it */
    bool lasting; /* a child of the worker's serves the job's chunks, so it goes where it has been before if
                     it can */
    bool
        exact; /* a chunk has exactly options.chunksize items (0: as any job's) as far as these fit a message,
                  but for the last, and where no more can come; an item in pieces is a chunk of its own */
    bool tell_over; /* when nothing of it is left, ACTION_OVER gives its function back */
};

/*
 * Opens a job. Comes out as ACTION_OPENED unless it is whole; inline items and the end follow by
 * core_job_items and core_job_end in the same turn. Returns 0, -EEXIST (the session has a job of that ref),
 * -EINVAL (credit is 0 or over INT64_MAX), -EDQUOT (the owner's limit of jobs), -ENOMEM.
 */
int core_job_open(struct core *core, struct session *session, const struct job_request *request,
                  int64_t now_ns, struct job **job);

/* The session's job of that ref, or NULL when there is none (never was, or has ended). */
struct job *core_job_find(struct session *session, uint64_t ref);

/*
 * Items from index `first` on; a batch with `more` is a piece of one large item.
 * Returns 0, -EPROTO (not the index that comes next, a run into a done range, behind the end, other items
 * between the pieces of one), -ENOBUFS (no credit was left), -EMSGSIZE (an item over PROTOCOL_ITEM_MAX),
 * -ENOMEM. The job is as before when it fails.
 */
int core_job_items(struct core *core, struct job *job, uint64_t first, struct batch *batch, int64_t now_ns);

/* No more items; total: the index after the last one. Returns 0 or -EPROTO (it is not that, or was said
 * before). */
int core_job_end(struct core *core, struct job *job, uint64_t total, int64_t now_ns);

/* The client has written results of `bytes` credit. Returns 0 or -EPROTO (more than was sent). */
int core_job_credit(struct core *core, struct job *job, uint64_t bytes, int64_t now_ns);

/* The index that the next item must have. */
uint64_t core_job_expects(const struct job *job);

/* The job ends without a word: its session has been told otherwise. */
void core_job_abandon(struct core *core, struct job *job, int64_t now_ns);

/* DONE(cancelled) comes out next; chunks in flight live on as orphans. */
void core_job_cancel(struct core *core, struct job *job, int64_t now_ns);

/*
 * paused: no further item is begun; what runs goes on, its results are delivered. Otherwise as before.
 */
void core_job_hold(struct core *core, struct job *job, bool paused, int64_t now_ns);

/* The open job of that number in whichever session, or NULL; the number; whose it is; what its session calls
 * it. */
struct job *core_job_by_id(const struct core *core, uint64_t id);
uint64_t core_job_number(const struct job *job);
uid_t core_job_owner(const struct job *job);
struct session *core_job_session(const struct job *job);
uint64_t core_job_ref(const struct job *job);

/*** Crews ***/

/* A crew without workers: they are asked for by ACTION_START when there is work for them. Returns 0 or
 * -ENOMEM. */
int core_crew_new(struct core *core, void *cookie, struct crew **crew);

/* Frees it. Returns 0, or -EBUSY while it has a session, a job or a worker, or one is being started. */
int core_crew_free(struct core *core, struct crew *crew);

void *crew_cookie(const struct crew *crew);

/* The worker that ACTION_START asked for will not come (crew NULL: a thread). It is asked for again after a
 * while, longer each time. */
void core_start_failed(struct core *core, struct crew *crew, int64_t now_ns);

/*** Workers ***/

/*
 * A worker is there and idle: a thread (crew NULL; the first ones unasked), or the process that ACTION_START
 * asked for. Returns 0 or -ENOMEM.
 */
int core_worker_add(struct core *core, struct crew *crew, void *cookie, int64_t now_ns,
                    struct worker **worker);

/* It has died or left: what it held is run elsewhere, but for an item of whose result a piece had come: that
 * one fails (with no memory to say so, its job is cancelled), as does the item that it was on when its job
 * may not run an item twice (options.once), or when that was the third worker that died with it. Frees the
 * worker. */
void core_worker_gone(struct core *core, struct worker *worker, int64_t now_ns);

void *worker_cookie(const struct worker *worker);
/* The worker's crew; NULL: it is a thread. */
struct crew *worker_crew(const struct worker *worker);

/*
 * WORKED from a worker, for the first chunk that it holds.
 * batch: results of the next items of that chunk, or NULL for none. last: the chunk ends here, and items
 * without a result are handed back. Returns 0, or -EPROTO (not its first chunk, more results than items, a
 * piece out of place, `last` within a piece): the worker cannot be trusted, and the caller says
 * core_worker_gone. -ENOMEM likewise.
 */
int core_worked(struct core *core, struct worker *worker, uint64_t chunk, struct batch *batch, bool last,
                int64_t run_ns, int64_t cpu_ns, int64_t now_ns);

/*
 * PARKED from a process, for the chunk that it runs: `count` of the chunk's items have been run, and those of
 * their results that did not come yet will, by core_worked, as ACTION_GRANT allows; the other items are
 * handed back, and the chunk gives its slot to the worker's next one. Returns and means as core_worked.
 */
int core_parked(struct core *core, struct worker *worker, uint64_t chunk, uint32_t count, int64_t run_ns,
                int64_t cpu_ns, int64_t now_ns);

/*
 * RETURNED from a process, for the chunk that it runs: so many of the tokens that ACTION_LEND lent to it have
 * come back, counted over the chunk's life. Without it they come back with the chunk's end, or when it is
 * parked. Returns 0, or -EPROTO (not its running chunk, none that was called back): as core_worked.
 */
int core_returned(struct core *core, struct worker *worker, uint64_t chunk, uint64_t tokens, int64_t now_ns);

/* The open job that the worker's running chunk belongs to; NULL when it runs none, or one of a job that has
 * ended. */
struct job *core_worker_job(const struct worker *worker);

/* Has it a chunk still that it was told to drop? */
bool core_worker_drops(const struct worker *worker);

/*** Time ***/

/* When core_tick must be called at the latest, INT64_MAX for never. */
int64_t core_deadline(const struct core *core);

/* Does what time alone makes due (recalls, yields). Harmless at any time. */
void core_tick(struct core *core, int64_t now_ns);

/*** Stopping ***/

/*
 * For good, nothing is begun any more: what workers hold runs to its end, and what takes long is asked back.
 * But what may not be run twice (options.once) has to be delivered: of such a job with order, what is before
 * an item that was begun is. Jobs may still be opened, and wait.
 */
void core_stop(struct core *core, int64_t now_ns);

/* What a session may still expect after core_stop. */
enum core_rest {
    REST_RUNS,  /* something of it runs, or is about to */
    REST_WAITS, /* results that its client has to take first, or their worker to send; no slot is held */
    REST_NONE,  /* nothing more */
};
enum core_rest core_session_rest(const struct session *session);

/* The session's job behind `after` (NULL: the first), or NULL. */
struct job *core_session_job(const struct session *session, const struct job *after);

/*
 * Of a job with options.once: items that were begun, or may have been, and whose results have not come out.
 * *ranges: from malloc, ascending and apart, at most RANGES_BEGUN_MAX; NULL, and *count 0, where there are
 * none, and for other jobs. Returns 0 or -ENOMEM.
 */
enum { RANGES_BEGUN_MAX = 3000 };
int core_job_begun(const struct job *job, struct range **ranges, uint32_t *count);

/*** Actions ***/

enum action_type {
    ACTION_OPENED,  /* tell the session: job, credit */
    ACTION_CREDIT,  /* tell the session: bytes of input credit */
    ACTION_RESULTS, /* send the blocks; with has_done, the job ends with them */
    ACTION_DONE,    /* the job has ended */
    ACTION_CHUNK,   /* give the worker this chunk */
    ACTION_YIELD,   /* ask the worker … of this chunk */
    ACTION_RECALL,
    ACTION_DROP,
    ACTION_GRANT, /* more credit for the results of this chunk, to a process */
    ACTION_LEND,  /* free slots that this chunk of a process's may use, or is to give back */
    ACTION_START, /* a worker of this crew is wanted (NULL: one more thread): core_worker_add or
                     core_start_failed is to follow */
    ACTION_STOP,  /* the worker is to leave; the core has forgotten it: core_worker_gone must not be said */
    ACTION_OVER,  /* nothing is left of a job, at workers either */
};

struct action {
    enum action_type type;
    /* to a session */
    struct session *session;
    uint64_t ref;
    /* to a worker */
    struct worker *worker;
    uint64_t chunk;    /* its id, never used twice */
    struct crew *crew; /* ACTION_START */
    union {
        struct {
            uint64_t job;    /* its id, never used twice */
            uint64_t credit; /* for input, in all; what came with OPEN is to be subtracted */
        } opened;
        struct {
            uint64_t bytes;
        } credit;
        struct {
            uint64_t first;              /* index of the first record */
            struct batch *const *blocks; /* results in order, to be sent as one message */
            size_t count;                /* of blocks */
            uint32_t records;            /* in all of them */
            size_t size;                 /* of all their bytes */
            bool more;                   /* there is one block, a piece whose next comes later */
            bool has_done;
            struct job_report done;
        } results;
        struct job_report done;
        struct {
            uint64_t job, first; /* index of its first item */
            const void *function;
            struct slice items; /* with pieces: the whole chain slice.batch->next_piece, one record */
            uint64_t credit;    /* for results; PROTOCOL_COUNT_MAX: no limit */
            bool trace;         /* its job wants to know which slot it ran in, and when */
        } work;
        struct {
            uint64_t bytes; /* 0 and more */
            bool head;      /* everything else waits for this chunk's results */
        } grant;
        struct {
            uint64_t lent, back; /* over the chunk's life: in all, and how many are wanted back */
        } lend;
        struct {
            bool client_gone; /* nobody waits for the worker's last word */
        } drop;
        struct {
            uint64_t job;
            const void *function;
        } over;
    };
};

/*
 * The next thing to do, into *action; false when there is none for now. What it points to is good until the
 * next call of any function of the core. Call it until it says false after each event, or after a handful of
 * them: what has gathered by then goes out in fewer messages.
 */
bool core_next(struct core *core, int64_t now_ns, struct action *action);

/* The session's blocks in one ACTION_RESULTS: their number, and bytes of all their frames over which no
 * further one is added. */
enum { RESULTS_BLOCKS_MAX = 256, RESULTS_SIZE_SOFT = 128 << 10 };

/*** Looking ***/

struct core_counts {
    uint32_t workers;          /* threads and processes */
    uint32_t busy, lent;       /* slots in use; those of them that are lent to running chunks */
    uint32_t above;            /* of those in use: over the pool's slots, for the guarantee */
    uint32_t sessions, owners; /* connected; known */
    uint32_t jobs, waiting;    /* open jobs; those with items that no worker has */
    uint32_t orphans;          /* chunks whose job is gone */
    uint64_t queued_items;     /* that no worker has */
    uint64_t held_bytes;       /* input and results held */
    uint64_t jobs_done, items_done, items_failed, chunks_done; /* since the start */
    int64_t run_ns, cpu_ns; /* busy slot time and CPU time since the start */
};
void core_counts(const struct core *core, struct core_counts *counts);

/*
 * Remembers what is counted now, for core_look to say what has come since; does nothing when it did so less
 * than a second ago. To be called whenever the daemon is awake; it need not be woken for this. O(owners).
 */
void core_mark(struct core *core, int64_t now_ns);

/* What has come during the last window, which is of about a second, or longer where nothing was marked. */
struct core_rates {
    int64_t window_ns; /* 0: there is none yet, and all else is 0 */
    uint64_t items, chunks;
    double busy; /* mean slots in use */
};

/*
 * Works out the rates, and what each owner uses and is due, for core_owner_next. Walks all owners and jobs.
 * Returns 0 or -ENOMEM.
 */
int core_look(struct core *core, int64_t now_ns, struct core_rates *rates);

struct owner_view {
    uid_t uid;
    uint32_t weight, sessions, jobs, running; /* running: chunks that hold a slot */
    double used, entitled; /* as of the last core_look: mean slots in use over the window; slots that it is
                              due, by weight among those with work, by its caps and by what it could use */
    uint64_t queued_items, held_bytes;
    uint64_t jobs_done, items_done, items_failed;
    int64_t run_ns, cpu_ns;
    uint64_t waits; /* jobs that have had a first chunk; from their opening to that, together and at most */
    int64_t wait_ns, longest_wait_ns;
};
/* The owner after *cursor (start with NULL) in the order of uids into *view; false at the end. No event
 * between calls. */
bool core_owner_next(const struct core *core, const void **cursor, struct owner_view *view);

/* What a job's items that no worker has wait for, and its name in PROTOCOL.md. */
#define JOB_WAITS(X)                                                                                         \
    X(NOTHING, "nothing")                                                                                    \
    X(ITEMS, "items")                                                                                        \
    X(CHUNK, "chunk")                                                                                        \
    X(TURN, "turn")                                                                                          \
    X(JOB_SLOTS, "job_slots")                                                                                \
    X(OWNER_SLOTS, "owner_slots")                                                                            \
    X(PROCESS, "process")                                                                                    \
    X(START, "start")                                                                                        \
    X(READER, "reader")                                                                                      \
    X(PAUSED, "paused")                                                                                      \
    X(HALTED, "halted")

enum job_waits {
#define X(name, text) WAITS_##name,
    JOB_WAITS(X)
#undef X
};

struct job_view {
    uint64_t id;
    uid_t uid;
    const struct session *session;
    const void *function;
    uint64_t received, finished, failed; /* items */
    uint64_t queued_items;               /* that no worker has */
    bool ended;                          /* all items have come */
    bool started;                        /* its first chunk has been */
    uint32_t running, slots;             /* chunks that hold a slot; slots that it could use at most */
    int32_t priority;
    int64_t opened_ns, run_ns;
    int64_t wait_ns; /* from the opening to its first chunk; while `started` */
    double item_ns;  /* what an item is expected to take; 0: unknown */
    enum job_waits waits;
};
/* The same for jobs in the order of their ids. */
bool core_job_next(const struct core *core, const void **cursor, struct job_view *view);

/* A chunk that holds a slot. */
struct slot_view {
    const struct worker *worker;
    uid_t uid;
    int64_t started_ns;
    bool above;           /* it was given its slot by the guarantee, over the pool's number */
    uint64_t job;         /* its number; the job may be gone */
    const void *function; /* its job's */
    uint64_t item;        /* index of the first item that is not finished */
    uint32_t items, done; /* of the chunk */
    bool asked;           /* its worker was asked to stop it */
};
/* The same for chunks that run, in no order. */
bool core_slot_next(const struct core *core, const void **cursor, struct slot_view *view);

/*
 * Checks every invariant that can be seen from the whole state (sums, lists, credits, order, work
 * conservation): for the simulation and the tests; slow. Returns NULL, or what is wrong in a static text.
 */
const char *core_check(const struct core *core, int64_t now_ns);

#endif
